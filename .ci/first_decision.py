#!/usr/bin/env python3
"""How long a program takes from its start to its first line on standard output: with `semrx run --json`, to the first record.

    first_decision.py [--starts 15] [--at-most MS] -- semrx run --from drive.srx --json

Prints the least and the median of some starts, and fails if the least is above the given milliseconds: what else runs on a machine only adds.
"""

import argparse
import statistics
import subprocess
import sys
import time


def first_line(command):
    """In milliseconds."""
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        line = program.stdout.readline()
        elapsed = (time.perf_counter() - begun) * 1000
        program.stdout.read()
    if program.returncode or not line:
        sys.exit(f"{' '.join(command)}: ended with {program.returncode}, and said {line!r}")
    return elapsed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--starts", type=int, default=15)
    parser.add_argument("--at-most", type=float, help="milliseconds")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    times = [first_line(options.command) for _ in range(options.starts)]
    print(f"first record after {min(times):.1f} ms, median {statistics.median(times):.1f} ms of {len(times)} starts")
    if options.at_most is not None and min(times) > options.at_most:
        sys.exit(f"more than {options.at_most:g} ms")


if __name__ == "__main__":
    main()
