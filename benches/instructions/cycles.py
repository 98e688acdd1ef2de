#!/usr/bin/env python3
"""Cycles that a core takes for a thousand instructions of a network, as llvm-mca has it: the blocks that count.c wrote, each as if it were repeated.

    cycles.py BLOCKS CORE... [--llvm /usr/lib/llvm-19/bin]

CORE is one that llvm-mca knows: cortex-a53, cortex-a72, cortex-a57; neoverse-n1 is the Cortex-A76 (what older LLVMs call cortex-a76 is a Cortex-A57).
Every load hits the first cache, and no branch is predicted wrongly: real cores are slower.
"""

import argparse
import re
import subprocess

# So much of all instructions is looked at; the rest is taken to be like it.
SHARE = 0.998
TIMES = 50
FEATURES = "-mattr=+v8.2a,+dotprod,+fullfp16,+lse,+rdm,+crypto"
# What has no place in a loop: jumps out of it become plain branches, the rest nothing.
JUMPS = {"bl": "b #4", "ret": "br x30"}
NOTHING = {"brk", "svc", "hint", "isb", "dmb", "dsb", "mrs", "msr", "udf", "dc", "ic", "prfm", "xpaclri", "paciasp", "autiasp", "bti", "yield"}


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("blocks")
    p.add_argument("cores", nargs="+")
    p.add_argument("--llvm", default="/usr/lib/llvm-19/bin")
    return p.parse_args()


def run(command, text):
    return subprocess.run(command, input=text, capture_output=True, text=True)


def disassembled(llvm, words):
    text = "\n".join(" ".join(f"0x{word[at:at + 2]}" for at in (6, 4, 2, 0)) for word in words)
    done = run([f"{llvm}/llvm-mc", "--disassemble", "-triple=aarch64", FEATURES], text)
    unknown = {int(line.split(":")[1]) - 1 for line in done.stderr.splitlines() if "invalid instruction encoding" in line}
    lines = iter(line.strip() for line in done.stdout.splitlines() if line.strip() and not line.strip().startswith(".text"))
    return ["nop" if at in unknown else next(lines) for at in range(len(words))]


def in_a_loop(line):
    name = line.split()[0]
    if name in NOTHING:
        return "nop"
    if name == "blr":
        return f"br {line.split()[1]}"
    return JUMPS.get(name, line)


def main():
    a = arguments()
    blocks = [(int(runs), words) for runs, *words in (line.split() for line in open(a.blocks))]
    blocks.sort(key=lambda block: -block[0] * len(block[1]))
    total, seen, kept = sum(runs * len(words) for runs, words in blocks), 0, []
    for runs, words in blocks:
        kept.append((runs, words))
        seen += runs * len(words)
        if seen >= SHARE * total:
            break
    lines = iter(map(in_a_loop, disassembled(a.llvm, [word for _, words in kept for word in words])))
    text = "".join(
        f"# LLVM-MCA-BEGIN {at}\n" + "".join(next(lines) + "\n" for _ in words) + "# LLVM-MCA-END\n" for at, (_, words) in enumerate(kept)
    )
    for core in a.cores:
        command = [f"{a.llvm}/llvm-mca", "-mtriple=aarch64", f"-mcpu={core}", FEATURES, f"-iterations={TIMES}", "-resource-pressure=0", "-instruction-info=0"]
        done = run(command + ["-skip-unsupported-instructions=lack-sched"], text)
        if done.returncode:
            raise SystemExit(done.stderr[-800:])
        found = re.findall(r"Code Region - (\d+).*?Total Cycles:\s+(\d+)", done.stdout, re.S)
        cycles = sum(kept[int(at)][0] * int(count) / TIMES for at, count in found)
        instructions = sum(kept[int(at)][0] * len(kept[int(at)][1]) for at, _ in found)
        print(f"{core}: {total / 1e6:.1f} M instructions, {1000 * cycles / instructions:.0f} cycles for a thousand of them")


main()
