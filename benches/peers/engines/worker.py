"""Times one model in one engine, in a process of its own, and prints what it took as JSON."""

import json
import sys
import time

WARM_UP = 3
STATUS = "/proc/self/status"


def measure(load):
    """Takes MODEL RUNS THREADS from the command line; `load(model, threads)` gives what runs the model once."""
    model, runs, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # the peak counts from here
    before = memory()
    run = load(model, threads)
    milliseconds = []
    for index in range(WARM_UP + runs):
        start = time.perf_counter()
        run()
        if index >= WARM_UP:
            milliseconds.append((time.perf_counter() - start) * 1e3)
    after = memory()
    kib = {
        "resident": after["VmRSS"] - before["VmRSS"],
        "anonymous": after["RssAnon"] - before["RssAnon"],
        "peak": after["VmHWM"] - before["VmRSS"],
    }
    print(json.dumps({"milliseconds": milliseconds, "kib": kib}))


def memory():
    with open(STATUS, encoding="ascii") as lines:
        fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) for name in ("VmRSS", "RssAnon", "VmHWM")}
