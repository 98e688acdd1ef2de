#!/usr/bin/env python3
"""From counts of steps to instructions a unit: writes the table that semrx carries, and says how well it predicts whole networks.

    fit.py NEON.jsonl NEON.txt NEON_DOT.jsonl NEON_DOT.txt [--write src/budget/counted.rs]

The first of a pair is what the bench `instructions` printed, the second what the counter wrote (count.c). Networks that HELD_OUT names are predicted,
and not fitted to. Least squares of relative errors, no coefficient below 0.
"""

import argparse
import collections
import json
import re

import numpy as np
from scipy.optimize import nnls

HELD_OUT = ("street/head.onnx", "street/restore.onnx", "street/restore_shallow.onnx", "street/latent.onnx")
# Beside the networks, by their units: what whole frames take (the script `frames`) less what their networks do.
BESIDE = {"FrameCell": 934, "StepValue": 95, "NoiseValue": 230}
# So many instructions more or less are not a relative error worth speaking of.
SLIGHT = 3000


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("neon", "neon_dot"):
        p.add_argument(f"{name}_units")
        p.add_argument(f"{name}_counts")
    p.add_argument("--units", default="src/budget/work.rs", help="where the units stand (default: %(default)s)")
    p.add_argument("--write", metavar="FILE", help="write the table")
    return p.parse_args()


def read(units, counts):
    steps = [json.loads(line) for line in open(units)]
    counts = [int(line) for line in open(counts)]
    at, model = 0, None
    for step in steps:
        # What comes before a network's first step is its loading.
        at += step["model"] != model
        model = step["model"]
        step["count"] = counts[at]
        at += 1
    # What comes behind the last network is the program's end.
    if at + 1 != len(counts):
        raise SystemExit(f"{units} has {at + 1} stretches, {counts} are counted: not of one run")
    return [step for step in steps if step["complete"]]


def fit(steps):
    names = sorted({unit for step in steps for unit in step["units"]})
    asked = np.array([[step["units"].get(name, 0) for name in names] for step in steps], float)
    counts = np.array([step["count"] for step in steps], float)
    weight, size = 1 / (counts + SLIGHT), asked.max(0)
    found, _ = nnls(asked * weight[:, None] / size, counts * weight, maxiter=10_000)
    return dict(zip(names, found / size)) | BESIDE


def main():
    a = arguments()
    units = re.findall(r"^    Unit::(\w+),$", open(a.units).read(), re.M)
    tables = {}
    for name in ("neon", "neon_dot"):
        steps = read(getattr(a, f"{name}_units"), getattr(a, f"{name}_counts"))
        table = tables[name] = fit([step for step in steps if not step["model"].endswith(HELD_OUT)])
        sums = collections.defaultdict(lambda: [0.0, 0])
        for step in steps:
            own = sums[step["model"]]
            own[0] += sum(table.get(unit, 0) * count for unit, count in step["units"].items())
            own[1] += step["count"]
        print(f"{name:52} predicted   counted")
        for model, (predicted, counted) in sums.items():
            held = ", held out" if model.endswith(HELD_OUT) else ""
            print(f"{model[-50:]:50} {predicted / 1e6:9.1f} M {counted / 1e6:7.1f} M  {100 * (predicted / counted - 1):+.1f} %{held}")
    if a.write:
        with open(a.write, "w") as out:
            out.write("//! Instructions that each unit takes, by its number: written by `benches/instructions/fit.py`, see `docs/cost-model.md`.\n\n")
            out.write("use super::work::UNITS;\n\n/// Of a unit that no counted network asks for.\nconst NONE: f32 = f32::NAN;\n")
            for name, table in tables.items():
                out.write(f"\npub(super) const {name.upper()}: [f32; UNITS] = [\n")
                for unit in units:
                    out.write(f"    {f'{table[unit]:.2f}' if unit in table else 'NONE'}, // {unit}\n")
                out.write("];\n")


main()
