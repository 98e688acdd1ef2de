#!/usr/bin/env python3
"""Run the firmware under qemu-system-arm: what stands in each FOLDER/NAME.line goes in on its serial line, and the records that come out must be those of
FOLDER/NAME.jsonl, byte for byte. `SEMRX_FEED=FOLDER cargo test --test front` writes such a folder.

    check.py FIRMWARE FOLDER [--seconds 120]
"""

import argparse
import json
import pathlib
import subprocess
import sys
import threading

QEMU = ("qemu-system-arm", "-machine", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "stdio", "-kernel")


def feed(pipe, data):
    try:
        pipe.write(data)
        pipe.flush()
    except BrokenPipeError:
        pass  # What it wrote says what went wrong.


def ask(machine, data, seconds):
    """The lines that the firmware makes of a stream, its summary last."""
    feeder = threading.Thread(target=feed, args=(machine.stdin, data))
    limit = threading.Timer(seconds, machine.kill)
    feeder.start()
    limit.start()
    lines = []
    for line in machine.stdout:
        lines.append(line)
        if line.startswith((b'{"drops":', b"halted:")):
            break
    limit.cancel()
    if not lines or not lines[-1].startswith(b'{"drops":'):
        machine.kill()
    feeder.join()
    return lines


def check(name, lines, expected, seconds):
    """The summary, if the records are the expected ones."""
    *records, last = lines or [b""]
    if not last.startswith(b'{"drops":'):
        sys.exit(f"{name}: no summary within {seconds} s; {len(records)} records, then {last!r}")
    for number, (ours, theirs) in enumerate(zip(records, expected), 1):
        if ours != theirs:
            sys.exit(f"{name}: record {number} is\n{ours!r}\nand should be\n{theirs!r}")
    if len(records) != len(expected):
        sys.exit(f"{name}: {len(records)} records, {len(expected)} are expected")
    summary = json.loads(last)
    if summary["overruns"]:
        sys.exit(f"{name}: the UART lost {summary['overruns']} bytes")
    counts = {**summary["drops"], "malformed": summary["malformed"], "oversized": summary["oversized"]}
    dropped = ", ".join(f"{reason} {count}" for reason, count in counts.items() if count)
    print(f"{name}: {len(records)} records as on the host; dropped: {dropped or 'nothing'}")
    return summary


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("firmware")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seconds", type=int, default=120, help="longest that a stream may take")
    options = parser.parse_args()

    feeds = sorted(options.folder.glob("*.line"))
    if not feeds:
        sys.exit(f"{options.folder}: holds no .line file")
    # One machine for all: a stream begins where the one before has ended.
    machine = subprocess.Popen((*QEMU, options.firmware), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        for path in feeds:
            expected = path.with_suffix(".jsonl").read_bytes().splitlines(keepends=True)
            lines = ask(machine, path.read_bytes(), options.seconds)
            summary = check(path.stem, lines, expected, options.seconds)
    finally:
        machine.kill()
        machine.wait()
    print(f"stack: {summary['stack_bytes']} bytes at the deepest")


if __name__ == "__main__":
    main()
