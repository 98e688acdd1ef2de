"""Makes the bundle `street` of `street-float`: its networks in int8, and caches and a gate that are calibrated on them.

    cargo build --release --workspace && python models/train/int8.py --camvid ../shared/data/camvid [--weights 4 --out DIR]

Only recording 0006R0 is looked at, for the caches only its last 21 frames, which were not trained on; for the gate, twelve drives of the procedural street
beside it. Takes a quarter of an hour on one core, and gives the same bytes on every x86: see docs/quantize.md.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "release"
CALIBRATE = ["--only", "0006R0", "--last", "21", "--channel", "tile-loss=0.5", "--calibrate-cache", "--steps", "20", "--sampler", "ddim"]
# Of the head: the last step to the class of each cell, on which a row of the bonnet hangs. Both in float take 0.2 ms more.
EXCLUDED = ["/posterior/out/Conv", "/Conv"]
# In 4 bits the head loses most by a few small layers, whose 8 or 16 bits are 28 KB.
BUDGETS = {"8": [], "4": ["--budget-kib", "head=188"]}
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


def update(bundle, entries):
    manifest = bundle / "bundle.json"
    contents = json.loads(manifest.read_text())
    for key, entry in entries.items():
        contents[key].update(entry)
    manifest.write_text(json.dumps(contents, indent=2) + "\n")


def calibrate_gate(bundle, maps):
    with tempfile.TemporaryDirectory() as folder:
        for seed in DRIVES:
            run("semrx", "street", "--out", folder, "--seed", seed, "--frames", FRAMES)
        for file in sorted(maps.glob("0006R0*.png")):
            shutil.copy(file, folder)
        update(bundle, found(bundle, folder, "--calibrate-gate", "--alpha", "0.1", "--confidence", "0.9"))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--camvid", default="../shared/data/camvid")
    p.add_argument("--float", type=Path, default=REPOSITORY / "models/street-float")
    p.add_argument("--out", type=Path, default=REPOSITORY / "models/street")
    p.add_argument("--weights", default="8", choices=["8", "4"])
    p.add_argument("--report", type=Path, help="page about the layers")
    args = p.parse_args()
    maps = Path(args.camvid) / "train/label"
    report = ["--report", args.report] if args.report else []
    print(run("semrx-quantize", args.float, "-o", args.out, "--calib", maps, "--only", "0006R0", "--weights", args.weights,
              *(word for node in EXCLUDED for word in ("--exclude", node)), *BUDGETS[args.weights], *report))
    for wanted in (["--agreement", "0.98"], ["--saving", "2.5", "--tries", "120"]):
        update(args.out, found(args.out, maps, *CALIBRATE, *wanted))
    calibrate_gate(args.out, maps)


if __name__ == "__main__":
    main()
