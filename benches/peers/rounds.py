"""The timing: every row once a round, in a process of its own, so that what else the machine does falls on all alike."""

from dataclasses import dataclass, field
from statistics import median

from rows import counted
from tools import Missing, say


@dataclass
class Result:
    """What all rounds gave for a row, or why they gave nothing."""

    row: object
    samples: list = field(default_factory=list)
    reason: str | None = None
    kib: dict | None = None

    @property
    def p50(self):
        return median(sample.p50 for sample in self.samples) if self.samples else None

    @property
    def least(self):
        return min(sample.least for sample in self.samples) if self.samples else None


def run(rows, engines, rounds, runs):
    """`engines`: by name, what times a row; or the Missing that says why there is none."""
    results = [Result(row) for row in rows]
    for number in range(1, rounds + 1):
        group = None
        for result in results:
            row = result.row
            if (row.model, row.threads) != group:
                group = row.model, row.threads
                say(f"round {number} of {rounds}: {row.model}, {counted(row.threads)}")
            if not result.reason:
                sample(result, engines[row.engine], runs)
    for result in results:
        if result.samples and result.samples[0].kib:
            result.kib = {name: median(s.kib[name] for s in result.samples) for name in result.samples[0].kib}
    return results


def sample(result, engine, runs):
    try:
        if isinstance(engine, Missing):
            raise engine
        result.samples.append(engine.sample(result.row, runs))
    except Missing as missing:
        result.reason = str(missing)
        say(f"  {result.row.engine}, {result.row.what}: {missing}")
