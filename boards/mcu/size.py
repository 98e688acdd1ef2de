#!/usr/bin/env python3
"""Print the flash and the RAM that the firmware takes, beside those of size.json; fail when either grew by 3 % or more.

    size.py FIRMWARE [--keep]

RAM is what is laid out at the start; the stack comes on top (check.py tells how deep it gets). --keep writes the figures to size.json.
"""

import argparse
import json
import pathlib
import struct
import sys

KEPT = pathlib.Path(__file__).with_name("size.json")
GROWTH = 0.03
RAM_START = 0x20000000
PT_LOAD = 1


def sizes(path):
    """Bytes in flash and in RAM, by the ELF file's segments."""
    data = pathlib.Path(path).read_bytes()
    if data[:6] != b"\x7fELF\x01\x01":
        sys.exit(f"{path}: is no 32-bit little-endian ELF file")
    table, entry, count = struct.unpack_from("<I", data, 28)[0], *struct.unpack_from("<HH", data, 42)
    flash = ram = 0
    for at in range(table, table + entry * count, entry):
        kind, _, address, _, in_file, in_memory = struct.unpack_from("<6I", data, at)
        if kind == PT_LOAD:
            flash += in_file
            ram += in_memory if address >= RAM_START else 0
    return {"flash_bytes": flash, "ram_bytes": ram}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("firmware")
    parser.add_argument("--keep", action="store_true", help="write the figures to size.json")
    options = parser.parse_args()

    now = sizes(options.firmware)
    if options.keep:
        KEPT.write_text(json.dumps(now) + "\n", encoding="utf-8")
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    for name, size in now.items():
        print(f"{name}: {size}, {kept[name]} kept, {size / kept[name] - 1:+.1%}")
    grown = [name for name, size in now.items() if size >= kept[name] * (1 + GROWTH)]
    if grown:
        sys.exit(f"{' and '.join(grown)} grew by {GROWTH:.0%} or more: make it smaller again, or keep the new figures with --keep and say why")


if __name__ == "__main__":
    main()
