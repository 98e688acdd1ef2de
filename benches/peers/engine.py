"""The engines: how each is started, and what it says."""

import json
import subprocess
from dataclasses import dataclass
from statistics import median

from tools import Missing

LIMIT_SECONDS = 600


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

    def sample(self, row, runs):
        found = ask([self.program, "bench", row.file, "--runs", runs, "--threads", row.threads, "--json"])
        kib = {name: grown // 1024 for name, grown in found["grown_bytes"].items()}
        return Sample(found["milliseconds"]["p50"], found["milliseconds"]["least"], found["isa"], kib)


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
