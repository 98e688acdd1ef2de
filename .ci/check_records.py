#!/usr/bin/env python3
"""Check that every line of a file of decision records is JSON, and that every frame from 0 on ends in exactly one of them.

    check_records.py RECORDS.jsonl
"""

import json
import sys


def main():
    [path] = sys.argv[1:]
    frames = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
            except ValueError as error:
                sys.exit(f"{path}: line {number}: {error}")
            frames += range(record["sequence"], record["sequence"] + record["frames"])
    if not frames or sorted(frames) != list(range(len(frames))):
        sys.exit(f"{path}: its records are not one for each frame from 0 on: {sorted(frames)}")
    print(f"{len(frames)} frames, a record each")


if __name__ == "__main__":
    main()
