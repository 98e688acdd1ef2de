"""The engines: how each is started, and what it says."""

import json
import subprocess
import time
from dataclasses import dataclass
from statistics import median

from tools import Missing

LIMIT_SECONDS = 600
# Long enough for many looks at what a process holds.
WATCHED_SECONDS = 1.0


@dataclass
class Sample:
    """What one process measured."""

    p50: float
    least: float
    isa: str | None = None  # None: the engine doesn't say
    kib: dict | None = None


class Worker:
    """A peer: a program that takes MODEL RUNS THREADS and prints its times and its memory."""

    def __init__(self, name, version, command):
        self.name, self.version, self.command = name, version, command

    def sample(self, row, runs):
        found = ask([*self.command, row.file, runs, row.threads])
        return Sample(median(found["milliseconds"]), min(found["milliseconds"]), kib=found["kib"])


class Semrx:
    """semrx, through its own `bench`."""

    name = "semrx"

    def __init__(self, program):
        self.program = program
        self.version = text_of([program, "--version"]).split()[-1]
        self.has_threads = "--threads" in text_of([program, "bench", "--help"])

    def sample(self, row, runs):
        if row.threads > 1 and not self.has_threads:
            raise Missing("this semrx bench has no --threads")
        found = ask(self.command(row.file, runs, row.threads))
        return Sample(found["milliseconds"]["p50"], found["milliseconds"]["least"], found["isa"])

    def command(self, model, runs, threads):
        chosen = ["--threads", threads] if self.has_threads else []
        return [self.program, "bench", model, "--runs", runs, *chosen, "--json"]

    def growth(self, model, smallest, p50):
        """The memory that `model` takes, in KiB, seen from outside: beside the same program with the smallest of models."""
        with_model = watch(self.command(model, max(10, round(WATCHED_SECONDS * 1e3 / p50)), 1))
        without = watch(self.command(smallest, 100_000, 1))
        return {
            "resident": with_model["VmRSS"] - without["VmRSS"],
            "anonymous": with_model["RssAnon"] - without["RssAnon"],
            "peak": with_model["VmHWM"] - without["VmRSS"],
        }


def ask(command):
    """Runs a command that prints JSON on its last line."""
    command = list(map(str, command))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Missing(f"took longer than {LIMIT_SECONDS} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise Missing(said[-1])
    return json.loads(done.stdout.splitlines()[-1])


def text_of(command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def watch(command):
    """What a process held of memory when last seen, in KiB; the peak of all its time."""
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    last = {}
    while process.poll() is None:
        with open(f"/proc/{process.pid}/status", encoding="ascii") as lines:
            fields = dict(line.split(":", 1) for line in lines)
        # A process at its end is there, and holds nothing.
        if "VmRSS" in fields:
            last = {name: int(fields[name].split()[0]) for name in ("VmRSS", "RssAnon", "VmHWM")}
        time.sleep(0.005)
    if process.returncode:
        raise Missing(f"exit status {process.returncode}")
    return last
