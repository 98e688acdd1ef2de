"""What a quantized bundle costs the decisions: `semrx eval` with it and with the float one, on the same noise, over several seeds.

    python quantize/against_float.py --maps ../shared/data/camvid/train/label --only 0001TP [--float models/street-float] [--quantized models/street …] [--seeds 4]

A point is a channel and a row of the evaluation; its value is the mean over the seeds, for one seed alone moves the F1 of rare hazards by a point either way,
whichever of two equally good scenes is drawn. semrx is target/release/semrx, or that of CARGO_TARGET_DIR.
"""
import argparse
import json
import os
import statistics
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SEMRX = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "release/semrx"
METRICS = {"miou_all": "mIoU, all cells", "miou_lost": "mIoU, lost cells", "f1_head": "hazard F1, head", "f1_rule": "hazard F1, rule", "free_error_head": "free-space error, head"}
# What the gate leaves out hangs on thresholds that each bundle has of its own, and photographs take hours.
ROWS = "semantic_first,hybrid 1,hybrid 2"
SMALLER_IS_BETTER = {"free_error_head"}


def evaluate(bundle, maps, only, fps, seed):
    run = [str(SEMRX), "eval", "--bundle", bundle, "--maps", maps, "--only", only, "--fps", str(fps), "--seed", str(seed), "--threads", "1",
           "--rows", ROWS, "--json"]
    said = subprocess.run(run, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return {(f"{case['payload']} {case['channel']}", row["row"]): row for case in json.loads(said)["cases"] for row in case["rows"]}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--maps", required=True)
    p.add_argument("--only", default="")
    p.add_argument("--fps", type=float, default=10, help="frames a second of these maps (default: %(default)s)")
    p.add_argument("--float", default=str(REPOSITORY / "models/street-float"))
    p.add_argument("--quantized", nargs="+", default=[str(REPOSITORY / "models/street")], metavar="BUNDLE")
    p.add_argument("--seeds", type=int, default=4)
    args = p.parse_args()
    bundles = [args.float, *args.quantized]
    jobs = [(bundle, args.maps, args.only, args.fps, seed) for bundle in bundles for seed in range(args.seeds)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda job: evaluate(*job), jobs))
    of = lambda number: found[number * args.seeds:(number + 1) * args.seeds]
    print(f"{'points of 100':<20}{'':<24}{'points':>8}{'mean':>8}{'worst':>8}  where")
    for number, bundle in enumerate(args.quantized, 1):
        compare(bundle, of(0), of(number))


def compare(bundle, before, after):
    """Prints a line for each metric: float evaluations beside quantized ones, by seed."""
    for metric, name in METRICS.items():
        changes = {}
        for point in before[0]:
            values = [(one[point][metric], other[point][metric]) for one, other in zip(before, after)]
            if all(one and other for one, other in values):
                changes[point] = 100 * statistics.mean(other["value"] - one["value"] for one, other in values)
        worst = (max if metric in SMALLER_IS_BETTER else min)(changes, key=changes.get)
        print(f"{bundle:<20}{name:<24}{len(changes):>8}{statistics.mean(changes.values()):>+8.2f}{changes[worst]:>+8.2f}  {worst[0]}, {worst[1]}")


if __name__ == "__main__":
    main()
