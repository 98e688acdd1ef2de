"""SQNR of each output, of onnxruntime's static quantization and of semrx-quantize, calibrated on the same inputs, on others that neither saw; and what
weights and arena of semrx become in 8 bits.

    python quantize/against_onnxruntime.py MODEL.onnx --calib DIR --test DIR        # a model of your own
    python quantize/against_onnxruntime.py --all --camvid DIR --onnx DIR            # the table of docs/evidence.md

Folders hold an .npz a sample, as semrx-quantize reads and (--save-samples) writes them. onnxruntime's quantizer gets Conv, Gemm, MatMul and ConvTranspose, weights in int8
per channel, activations in uint8, as ours does; its own preprocessing goes first. All results run in onnxruntime. Needs onnx, onnxruntime and, for --all, torch;
semrx-quantize is target/release/semrx-quantize, or that of CARGO_TARGET_DIR.
"""
import argparse
import contextlib
import glob
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

REPOSITORY = Path(__file__).resolve().parent.parent
QUANTIZE = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "release/semrx-quantize"
METHODS = ["MinMax", "Entropy", "Percentile"]
OPERATORS = ["Conv", "Gemm", "MatMul", "ConvTranspose"]
OURS = {"8 bits": [], "4 bits": ["--weights", "4"], "4, nearest": ["--weights", "4", "--nearest"]}
COUNTED = ["weights_in_memory", "arena_bytes"]


def load(folder):
    files = sorted(glob.glob(os.path.join(folder, "*.npz")))
    if not files:
        raise SystemExit(f"{folder}: holds no .npz")
    for file in files:
        with np.load(file) as arrays:
            yield {name: arrays[name] for name in arrays.files}


class Reader(CalibrationDataReader):
    def __init__(self, folder):
        self.samples = load(folder)

    def get_next(self):
        return next(self.samples, None)


def session(file):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options)


def sqnr(model, quantized, folder):
    """By output: 10 log10 of the power of the float model's over that of the error."""
    float_, int8 = session(model), session(quantized)
    names = [output.name for output in float_.get_outputs()]
    signal, noise = np.zeros(len(names)), np.zeros(len(names))
    for sample in load(folder):
        for index, (right, found) in enumerate(zip(float_.run(names, sample), int8.run(names, sample))):
            signal[index] += (right.astype(np.float64) ** 2).sum()
            noise[index] += ((right.astype(np.float64) - found) ** 2).sum()
    return dict(zip(names, 10 * np.log10(signal / noise)))


def ours(model, out, calib, *options):
    """What semrx-quantize counts: {what: [before, after]}."""
    run = [str(QUANTIZE), str(model), "-o", str(out), "--calib", str(calib), "--json", *options]
    return json.loads(subprocess.run(run, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)["totals"]


def compare(name, model, calib, test):
    """Prints a line for each output."""
    model, found = str(model), {}
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "quantized.onnx")
        prepared = os.path.join(folder, "prepared.onnx")
        quant_pre_process(model, prepared, skip_symbolic_shape=True)
        for method in METHODS:
            with contextlib.redirect_stdout(sys.stderr):
                quantize_static(prepared, out, Reader(calib), quant_format=QuantFormat.QDQ, per_channel=True,
                                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                                calibrate_method=getattr(CalibrationMethod, method), op_types_to_quantize=OPERATORS)
            found[method] = sqnr(model, out, test)
        totals = {}
        for bits, options in OURS.items():
            totals[bits] = ours(model, out, calib, *options)
            found[bits] = sqnr(model, out, test)
    less = [100 * (after / before - 1) for before, after in (totals["8 bits"][what] for what in COUNTED)]
    for output in found[METHODS[0]]:
        row = [found[way][output] for way in found]
        gains = row[3] - max(row[:3]), row[4] - row[5]
        print(f"{name + ', ' + output:<28}" + "".join(f"{db:>12.1f}" for db in row) + "".join(f"{gain:>+12.1f}" for gain in [*gains, *less]), flush=True)


def head():
    columns = [*METHODS, *OURS, "8 gains", "4 gains", "weights, %", "arena, %"]
    print(f"{'SQNR, dB':<28}" + "".join(f"{column:>12}" for column in columns))


def normal(folder, count, seed, **shapes):
    """Inputs of noise; t is a timestep of a thousand."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        value = lambda name, shape: random.uniform(0, 1000, shape) if name == "t" else random.standard_normal(shape)
        np.savez(folder / f"{number:03}.npz", **{name: value(name, shape).astype(np.float32) for name, shape in shapes.items()})
    return folder


def everything(camvid, onnx):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        bundle = REPOSITORY / "models/street-float"
        for network in ("restore", "head"):
            model, sets = bundle / f"{network}.onnx", {}
            for recording, samples in (("0006R0", "96"), ("0001TP", "32")):
                sets[recording] = folder / f"{network}.{recording}"
                ours(model, folder / "unused.onnx", Path(camvid) / "train/label", "--bundle", str(bundle), "--only", recording,
                     "--samples", samples, "--save-samples", str(sets[recording]))
            compare(network, model, sets["0006R0"], sets["0001TP"])
        subprocess.run([sys.executable, str(REPOSITORY / "benches/peers/models/make_unet.py"), str(folder)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shapes = {"x": (1, 3, 64, 128), "cond": (1, 12, 64, 128), "t": (1,)}
        compare("comparison U-Net", folder / "unet.onnx", normal(folder / "unet.calib", 24, 0, **shapes), normal(folder / "unet.test", 12, 1, **shapes))
        shapes = {"input": (1, 1, 224, 224)}
        compare("sedgen_unet", Path(onnx) / "net/sedgen_unet/unet.onnx", normal(folder / "sed.calib", 16, 0, **shapes), normal(folder / "sed.test", 8, 1, **shapes))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", nargs="?")
    p.add_argument("--calib", metavar="DIR", help="for the calibration of both")
    p.add_argument("--test", metavar="DIR", help="on which all are compared")
    p.add_argument("--all", action="store_true", help="the four networks of docs/evidence.md")
    p.add_argument("--camvid", metavar="DIR", help="with --all: CamVid's labels")
    p.add_argument("--onnx", metavar="DIR", help="with --all: the folder that holds net/sedgen_unet")
    args = p.parse_args()
    if args.all and args.camvid and args.onnx:
        head()
        everything(args.camvid, args.onnx)
    elif args.model and args.calib and args.test:
        head()
        compare(Path(args.model).stem, args.model, args.calib, args.test)
    else:
        p.error("it takes MODEL --calib --test, or --all --camvid --onnx")


if __name__ == "__main__":
    main()
