"""The machine that the figures are of."""

import os

# What matters to a convolution, as /proc/cpuinfo has it; the best last.
INSTRUCTION_SETS = ("asimd", "asimddp", "i8mm", "avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8")


def describe():
    fields = {}
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    flags = fields.get("flags", fields.get("Features", "")).split()
    return {
        "cpu": fields.get("model name", os.uname().machine),
        "cores": len(os.sched_getaffinity(0)),
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "load": round(os.getloadavg()[0], 2),
    }
