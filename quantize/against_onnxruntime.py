"""SQNR of each output, of onnxruntime's static quantization and of ours, on the same inputs.

    python quantize/against_onnxruntime.py MODEL.onnx --calib DIR --test DIR [--ours FILE.onnx ...]

Folders hold an .npz a sample, as semrx-quantize reads and (--save-samples) writes them. Needs onnx and onnxruntime. onnxruntime's quantizer gets
Conv, Gemm and MatMul, weights in int8 per channel, activations in uint8, as ours does; its own preprocessing goes first.
"""
import argparse
import glob
import os
import tempfile

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

METHODS = ["MinMax", "Entropy", "Percentile"]
OPERATORS = ["Conv", "Gemm", "MatMul"]


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


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--calib", required=True, metavar="DIR", help="for onnxruntime's calibration")
    p.add_argument("--test", required=True, metavar="DIR", help="on which all are compared")
    p.add_argument("--ours", nargs="*", default=[], metavar="FILE", help="quantized by semrx-quantize")
    args = p.parse_args()

    def row(name, quantized):
        found = sqnr(args.model, quantized, args.test)
        print(f"{name:<40}" + "".join(f"  {output} {db:6.2f} dB" for output, db in found.items()), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        prepared = os.path.join(folder, "prepared.onnx")
        quant_pre_process(args.model, prepared, skip_symbolic_shape=True)
        for method in METHODS:
            quantized = os.path.join(folder, f"{method}.onnx")
            quantize_static(prepared, quantized, Reader(args.calib), quant_format=QuantFormat.QDQ, per_channel=True,
                            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                            calibrate_method=getattr(CalibrationMethod, method), op_types_to_quantize=OPERATORS)
            row(f"onnxruntime {method}", quantized)
    for file in args.ours:
        row(os.path.basename(file), file)


if __name__ == "__main__":
    main()
