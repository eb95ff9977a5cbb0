"""How a choice reads: one table, the chosen on top, each rejected one with what it violates. Records in, text out."""

from __future__ import annotations

from pocketzoo.printable import printable
from zoo.artifact import Accuracy
from zoo.candidate import LOCAL, CellFacts
from zoo.constraints import as_options
from zoo.pareto import Front
from zoo.resolve import Choice, Latency, Row
from zoo.timings import threads_text

MOST_ROWS = 12
NO_VALUE = "-"


def choice_text(choice: Choice, *, most: int = MOST_ROWS) -> str:
    """The explanation: what was asked, one table, the order that decided, and notes."""
    rows = (*choice.fits, *choice.misses)
    asked = as_options(choice.constraints) or "nothing more"
    lines = [f"asked for {choice.wanted}: {asked}", ""]
    if rows:
        lines += [_table(choice, rows[:most]), ""]
    if len(rows) > most:
        fit = sum(1 for row in rows[most:] if not row.violations)
        lines += [f"and {len(rows) - most} more, of which {fit} fit"]
    if choice.fits:
        lines.append(f"{len(choice.fits)} of {len(rows)} fit; the order is: {choice.order}")
    if choice.constraints.device is not None and any(row.latency for row in rows):
        lines.append("a latency is judged by the upper end of its 95% interval")
    return "\n".join([*lines, *map(printable, choice.notes)])


def misses_text(choice: Choice, *, most: int = 5) -> tuple[str, ...]:
    """The nearest misses as lines: the same table, with all that each violates below it where it is more than one."""
    rows = choice.misses[:most]
    lines = _table(choice, rows).splitlines() if rows else []
    for row in rows:
        if len(row.violations) > 1:
            lines.append(printable(f"{row.candidate.name}: {'; '.join(v.says for v in row.violations)}"))
    if len(choice.misses) > most:
        lines.append(f"and {len(choice.misses) - most} that are further away")
    return (*lines, *map(printable, choice.notes))


def front_text(front: Front, device: str | None) -> str:
    """A Pareto front as a table with what is not on it counted below."""
    metrics = tuple(axis for axis in front.axes if axis not in ("latency", "size"))
    table = _rows_table(front.rows, metrics, device=device, verdicts=False, chosen=None)
    lines = [table, "", f"{len(front.rows)} on the front, {front.beaten} beaten by one of them"]
    if front.lacking:
        lines.append(
            f"{len(front.lacking)} not compared, e.g. {front.lacking[0][0].name}: {printable(front.lacking[0][1])}"
        )
    return "\n".join(lines)


def front_record(front: Front) -> dict[str, object]:
    """A Pareto front for ``--json``."""
    metrics = tuple(axis for axis in front.axes if axis not in ("latency", "size"))
    return {
        "axes": front.axes,
        "front": [row_record(row, metrics) for row in front.rows],
        "beaten": front.beaten,
        "lacking": [
            {"name": candidate.name, "digest": f"sha256:{candidate.digest}", "says": says}
            for candidate, says in front.lacking
        ],
    }


def row_record(row: Row, metrics: tuple[str, ...]) -> dict[str, object]:
    """A row for ``--json``."""
    candidate, latency = row.candidate, row.latency
    return {
        "name": candidate.name,
        "digest": f"sha256:{candidate.digest}",
        "tags": candidate.tags,
        "source": candidate.source,
        "format": candidate.format,
        "size_bytes": candidate.size_bytes,
        "accuracy": {m: a for m, a in zip(metrics, row.accuracies, strict=False) if a is not None},
        "latency": None if latency is None else latency_record(latency),
        "violations": [
            {"constraint": v.constraint, "says": v.says, "excess": v.excess, "missing": v.missing}
            for v in row.violations
        ],
    }


def latency_record(latency: Latency) -> dict[str, object]:
    """The latency that decided, for ``--json`` and lock files."""
    cell = latency.cell
    return {
        "device": cell.device,
        "fingerprint": cell.fingerprint,
        "abi": cell.abi,
        "threads": cell.threads,
        "affinity": cell.affinity,
        "options": dict(cell.options),
        "centre_ms": cell.centre_ms,
        "ci95_ms": cell.ci95_ms,
        "provenance": cell.provenance,
        "verdict": cell.verdict,
        "job_key": cell.job_key,
        "time": cell.time,
    }


def choice_record(choice: Choice, *, most: int = 100) -> dict[str, object]:
    """A choice for ``--json``; at most so many of those that fit and of those that do not."""
    chosen = choice.chosen
    return {
        "wanted": choice.wanted,
        "constraints": choice.constraints,
        "order": choice.order,
        "chosen": None if chosen is None else row_record(chosen, choice.metrics),
        "fit": len(choice.fits),
        "miss": len(choice.misses),
        "fits": [row_record(row, choice.metrics) for row in choice.fits[:most]],
        "misses": [row_record(row, choice.metrics) for row in choice.misses[:most]],
        "notes": choice.notes,
    }


def _table(choice: Choice, rows: tuple[Row, ...]) -> str:
    return _rows_table(rows, choice.metrics, device=choice.constraints.device, verdicts=True, chosen=choice.chosen)


def _rows_table(
    rows: tuple[Row, ...], metrics: tuple[str, ...], *, device: str | None, verdicts: bool, chosen: Row | None
) -> str:
    elsewhere = any(row.candidate.source != LOCAL for row in rows)
    headers = ["Model", *(("Where",) if elsewhere else ()), "MB", *metrics]
    headers += ["ms (95%)", "Run as"] if device is not None else []
    headers += ["Says"] if verdicts else []
    body = []
    for row in rows:
        cells = [_name(row, rows)]
        cells += [row.candidate.source] if elsewhere else []
        cells += [f"{row.candidate.size_bytes / 1e6:.2f}", *(_accuracy(a) for a in row.accuracies[: len(metrics)])]
        cells += [_latency(row.latency), _way(row.latency)] if device is not None else []
        cells += [_says(row, chosen)] if verdicts else []
        body.append([printable(text) for text in cells])  # a line end out of somebody's text would look like a row
    right = {"MB", *metrics, "ms (95%)"}
    widths = [max(len(line[i]) for line in [headers, *body]) for i in range(len(headers))]
    ruled = [headers, ["-" * width for width in widths], *body]
    return "\n".join(
        "  ".join(
            text.rjust(width) if header in right else text.ljust(width)
            for text, width, header in zip(line, widths, headers, strict=True)
        ).rstrip()
        for line in ruled
    )


def _name(row: Row, rows: tuple[Row, ...]) -> str:
    """The name; with the tag or digest where several entries bear it."""
    name = row.candidate.name
    if sum(other.candidate.name == name for other in rows) == 1:
        return name
    return f"{name}:{row.candidate.tags[0]}" if row.candidate.tags else f"{name}@sha256:{row.candidate.digest[:12]}"


def _accuracy(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return NO_VALUE
    if accuracy.provenance == "published":
        return f"{accuracy.value:.2f} published"
    return f"{accuracy.value:.2f} (n={accuracy.samples})"


def _latency(latency: Latency | None) -> str:
    if latency is None:
        return NO_VALUE
    cell = latency.cell
    centre = f"{cell.centre_ms or 0:.4g}"
    if cell.provenance == "published":
        return f"{centre} published"
    return f"{centre} ({cell.ci95_ms[0]:.4g} to {cell.ci95_ms[1]:.4g})" if cell.ci95_ms else centre


def _way(latency: Latency | None) -> str:
    if latency is None:
        return NO_VALUE
    return way_text(latency.cell) + (f", slowest of {latency.systems} systems" if latency.systems > 1 else "")


def way_text(cell: CellFacts) -> str:
    """``armv8, 4 threads, CPUs 4-7``: how a cell was run."""
    text = f"{cell.abi}, {threads_text(cell.threads)}"
    text += f", CPUs {cell.affinity}" if cell.affinity else ""
    text += "".join(f", {name}={value}" for name, value in cell.options)
    return text + (f", {cell.delegate}" if cell.delegate else "")


def _says(row: Row, chosen: Row | None) -> str:
    if not row.violations:
        return "chosen" if row is chosen else "fits"
    more = f" (+{len(row.violations) - 1} more)" if len(row.violations) > 1 else ""
    return row.violations[0].says + more
