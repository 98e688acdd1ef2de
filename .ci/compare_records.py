#!/usr/bin/env python3
"""Compare the decision records of two machines that read the same capture.

What comes from the bytes alone must be equal. What comes from the models must call the same hazards, on the same path, in at least the given
share of the frames, and numbers must be no further apart than is said. `timing` is not looked at.

    compare_records.py A.jsonl B.jsonl [--agree 1] [--apart 0] [--at-least FRAMES]
"""

import argparse
import json
import sys

FROM_BYTES = (
    "schema", "stream", "sequence", "frames", "outcome", "reason", "capture_us", "delay_us", "bytes", "snr_cdb",
    "blind_snr_cdb",
    "known_permille", "tiles_missing",
)  # fmt: skip
PATH = ("mode", "gate", "risk_permille", "steps", "cached_steps", "macs", "saved_macs", "steady", "tasks")
DECISIONS = ("provisional", "decision")


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def hazards(record, decision):
    return record[decision] and record[decision]["hazards"]


def spread(a, b):
    """The largest difference of two records' probabilities and free spaces, in thousandths."""
    differences = [0]
    for decision in DECISIONS:
        if a[decision] and b[decision]:
            for field in ("hazard_permille", "free_permille"):
                differences += [abs(x - y) for x, y in zip(a[decision][field], b[decision][field], strict=True)]
    return max(differences)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--agree", type=float, default=1.0, help="share of the decided frames that must agree")
    parser.add_argument("--apart", type=int, default=0, help="largest difference of a probability, in thousandths")
    parser.add_argument("--at-least", type=int, default=20, help="decided frames that there must be")
    options = parser.parse_args()

    a, b = read(options.a), read(options.b)
    if len(a) != len(b):
        sys.exit(f"{options.a} has {len(a)} records, {options.b} has {len(b)}")
    known = {*FROM_BYTES, *PATH, *DECISIONS, "timing"}
    decided = agreed = widest = 0
    for number, (left, right) in enumerate(zip(a, b, strict=True), 1):
        if left.keys() != known or right.keys() != known:
            sys.exit(f"record {number}: fields differ from those known here: {sorted(known ^ left.keys() | known ^ right.keys())}")
        for field in FROM_BYTES:
            if left[field] != right[field]:
                sys.exit(f"record {number}: {field}: {left[field]!r} and {right[field]!r}")
        if left["decision"] is None and right["decision"] is None:
            continue
        decided += 1
        differ = [field for field in PATH if left[field] != right[field]]
        differ += [decision for decision in DECISIONS if hazards(left, decision) != hazards(right, decision)]
        agreed += not differ
        widest = max(widest, spread(left, right))
        if differ:
            print(f"frame {left['sequence']}: {', '.join(differ)} differ")
    print(f"{agreed} of {decided} decided frames agree, {len(a)} records in all; values differ by {widest} thousandths at most")
    if decided < options.at_least:
        sys.exit(f"{decided} decided frames are too few, {options.at_least} are asked for")
    if agreed < options.agree * decided:
        sys.exit(f"fewer than {options.agree:.1%} of the frames agree")
    if widest > options.apart:
        sys.exit(f"more than {options.apart} thousandths apart")


if __name__ == "__main__":
    main()
