"""The comparison as text and as JSON."""

MIB = 1024  # KiB


def as_text(machine, results, engines, ratios):
    sets = " ".join(machine["instruction_sets"]) or "none known here"
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, which has {sets}.",
        f"Load when it began: {machine['load']:.1f}." + (" The machine was busy: don't trust the figures." if busy(machine) else ""),
        "",
        *times(machine, results, engines, ratios),
        "",
        *missing(results),
        "Ratios",
        *(f"  {name:<55}{number(value)}" for name, value in ratios.that_matter()),
        "",
        *memory(results),
    ]
    return "\n".join(lines) + "\n"


def busy(machine):
    return machine["load"] > 0.3


def times(machine, results, engines, ratios):
    header = (
        "model",
        "form",
        "engine",
        "instruction set",
        "threads",
        "p50 ms",
        "least ms",
        "/ semrx int8",
        "/ semrx same",
    )
    rows = [
        (
            result.row.model,
            result.row.form,
            " ".join(filter(None, (result.row.engine, version(engines, result)))),
            instruction_set(machine, result),
            str(result.row.threads),
            number(result.p50),
            number(result.least),
            number(ratios.to_int8(result.row)),
            number(ratios.to_same(result.row)),
        )
        for result in results
    ]
    return table(header, rows, words=4)


def version(engines, result):
    return getattr(engines[result.row.engine], "version", None)  # one that is not there has none


def instruction_set(machine, result):
    """What the engine says that it uses; the others take what they find, and don't say."""
    if not result.samples:
        return "-"
    best = machine["instruction_sets"][-1:] or ["?"]
    return result.samples[0].isa or f"up to {best[0]}"


def missing(results):
    """Each reason once, with the rows that it is of."""
    rows = {}
    for result in results:
        if result.reason:
            rows.setdefault((result.row.engine, result.reason), []).append(result.row.what)
    lines = [f"  {engine} ({'; '.join(whats)}): {reason}" for (engine, reason), whats in rows.items()]
    return ["Not timed", *lines, ""] if lines else []


def memory(results):
    header = ("unet, MiB grown", "engine", "resident", "of it anonymous", "peak")
    rows = [
        (
            result.row.form,
            result.row.engine,
            *(f"{result.kib[name] / MIB:.1f}" for name in ("resident", "anonymous", "peak")),
        )
        for result in results
        if result.kib and result.row.model == "unet" and result.row.threads == 1
    ]
    return table(header, rows, words=2)


def table(header, rows, words):
    """The first `words` columns to the left, the numbers to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [header, tuple("-" * width for width in widths), *rows]
    cells = (
        [cell.ljust(width) if column < words else cell.rjust(width) for column, (cell, width) in enumerate(zip(line, widths, strict=True))]
        for line in lines
    )
    return ["  ".join(line).rstrip() for line in cells]


def number(value):
    return "-" if value is None else f"{value:.2f}"


def as_json(machine, results, engines, ratios, options):
    return {
        "machine": machine,
        **options,
        "rows": [
            {
                "model": result.row.model,
                "form": result.row.form,
                "engine": result.row.engine,
                "version": version(engines, result),
                "instruction_set": instruction_set(machine, result),
                "threads": result.row.threads,
                "p50_ms": result.p50,
                "least_ms": result.least,
                "rounds_p50_ms": [sample.p50 for sample in result.samples],
                "to_semrx_int8": ratios.to_int8(result.row),
                "to_semrx_same": ratios.to_same(result.row),
                "grown_kib": result.kib,
                "not_timed": result.reason,
            }
            for result in results
        ],
        "ratios": dict(ratios.that_matter()),
    }
