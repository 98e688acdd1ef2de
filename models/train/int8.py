"""Makes the bundle `street` of `street-float`: its networks in int8, and caches, fusion and a gate that are calibrated on them.

    cargo build --release --workspace && python models/train/int8.py --camvid ../shared/data/camvid [--weights 4 --out DIR]

Only recording 0006R0 is looked at, for the caches and the fusion only its last 21 frames, which were not trained on; for the gate, twelve drives of the procedural street
beside it. Takes half an hour on one core, and gives the same bytes on every x86, the samples of samples.py given: see docs/quantize.md.
"""
import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "release"
# CamVid has a labelled frame a second, the street ten.
REAL = ["--only", "0006R0", "--last", "21", "--fps", "1"]
CALIBRATE = [*REAL, "--channel", "tile-loss=0.5", "--calibrate-cache", "--steps", "20", "--sampler", "ddim"]
# Of the head: the last step to the class of each cell, on which a row of the bonnet hangs. Both in float take 0.2 ms more.
EXCLUDED = ["/posterior/out/Conv", "/Conv"]
# In 4 bits the head loses most by a few small layers, whose 8 or 16 bits are 28 KB.
BUDGETS = {"8": [], "4": ["--budget-kib", "head=188"]}
# Networks that are quantized on samples of samples.py: the first and the last convolutions of the two that see pictures stay in float.
ON_SAMPLES = {"latent": [], "view": ["/inp/Conv", "/out/Conv"], "perceive": ["/inp/inp.0/Conv", "/out/Conv"]}
MARK = "in bundle.json: "
# Of the procedural street: seeds that no other recipe uses.
DRIVES, FRAMES = range(101, 113), 60


def run(program, *arguments):
    command = [str(PROGRAMS / program), *map(str, arguments)]
    print(" ".join(command), file=sys.stderr, flush=True)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def found(bundle, maps, *wanted):
    """What `semrx eval` says for bundle.json."""
    said = run("semrx", "eval", "--bundle", bundle, "--maps", maps, *wanted)
    print(said, file=sys.stderr)
    entry = next(line for line in said.splitlines() if line.startswith(MARK))
    return json.loads("{" + entry[len(MARK):] + "}")


def replace(bundle, role, file):
    """Puts `file` into the bundle, in a role or as a head of that name."""
    manifest = bundle / "bundle.json"
    contents = json.loads(manifest.read_text())
    entry = next(entry for entry in contents["files"] if role in (entry["role"], entry.get("name")) and entry["file"] == file)
    entry["sha256"] = hashlib.sha256((bundle / file).read_bytes()).hexdigest()
    manifest.write_text(json.dumps(contents, indent=2) + "\n")


def quantize_on_samples(source, bundle, camvid, weights):
    with tempfile.TemporaryDirectory() as folder:
        here = Path(__file__).resolve().parent
        subprocess.run([sys.executable, here / "samples.py", "--camvid", camvid, "--bundle", source, "--out", folder], check=True, stdout=sys.stderr)
        for role, excluded in ON_SAMPLES.items():
            file = f"{role}.onnx"
            print(run("semrx-quantize", source / file, "-o", bundle / file, "--calib", Path(folder) / role, "--weights", weights,
                      *(word for node in excluded for word in ("--exclude", node))))
            replace(bundle, role, file)
        # The head that is called by its name is the other one, moved.
        subprocess.run([sys.executable, here / "cautious.py", "--bundle", bundle], check=True, stdout=sys.stderr)
        replace(bundle, "cautious", "head_cautious.onnx")


def update(bundle, entries):
    manifest = bundle / "bundle.json"
    contents = json.loads(manifest.read_text())
    for key, entry in entries.items():
        contents[key].update(entry)
    manifest.write_text(json.dumps(contents, indent=2) + "\n")


def calibrate_decisions(bundle, maps):
    # Frames that were trained on would say that the head may be surer than it is.
    update(bundle, found(bundle, maps, *REAL, "--calibrate-fusion"))
    with tempfile.TemporaryDirectory() as folder:
        for seed in DRIVES:
            run("semrx", "street", "--out", folder, "--seed", seed, "--frames", FRAMES)
        for file in sorted(maps.glob("0006R0*.png")):
            shutil.copy(file, folder)
        update(bundle, found(bundle, folder, "--fps", "10,0006R0=1", "--calibrate-gate", "--alpha", "0.1", "--confidence", "0.9"))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--camvid", default="../shared/data/camvid")
    p.add_argument("--float", type=Path, default=REPOSITORY / "models/street-float")
    p.add_argument("--out", type=Path, default=REPOSITORY / "models/street")
    p.add_argument("--weights", default="8", choices=["8", "4"])
    p.add_argument("--report", type=Path, help="page about the layers")
    p.add_argument("--networks-only", action="store_true", help="leave caches, fusion and gate as the float bundle has them")
    args = p.parse_args()
    maps = Path(args.camvid) / "train/label"
    report = ["--report", args.report] if args.report else []
    print(run("semrx-quantize", args.float, "-o", args.out, "--calib", maps, "--only", "0006R0", "--fps", 1, "--weights", args.weights,
              *(word for node in EXCLUDED for word in ("--exclude", node)), *BUDGETS[args.weights], *report))
    quantize_on_samples(args.float, args.out, args.camvid, args.weights)
    if args.networks_only:
        return
    for wanted in (["--agreement", "0.98"], ["--saving", "2.5", "--tries", "120"]):
        update(args.out, found(args.out, maps, *CALIBRATE, *wanted))
    calibrate_decisions(args.out, maps)


if __name__ == "__main__":
    main()
