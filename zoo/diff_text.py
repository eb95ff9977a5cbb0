"""How a difference reads. Records in, text and JSON documents out."""

from __future__ import annotations

from tabulate import tabulate

from pocketzoo.printable import printable
from zoo.artifact import Accuracy
from zoo.comparison import Comparison
from zoo.diff import AccuracyChange, Diff, LatencyChange
from zoo.measurement import Measurement
from zoo.text import millions, milliseconds


def diff_text(found: Diff, name_a: str, name_b: str, *, every: bool = False) -> str:
    """Sections for the file, operators, accuracy and latency; facts that are equal only with ``every``."""
    lines = [f"A  {name_a}", f"B  {name_b}", found.lineage, ""]
    rows = [[f.name, f.a, f.b, f.says] for f in found.facts if every or f.changed]
    rows += [[f"operator {name}", str(a), str(b), f"{b - a:+d}"] for name, a, b in found.operators]
    if rows:
        lines += [_table(rows, ["", "A", "B", "Change"], ("left",) * 3 + ("right",)), ""]
    else:
        lines += ["the files and what is known of them are the same", ""]
    if found.accuracy:
        body = [[f"{c.metric} on {c.data}", _accuracy(c.a), _accuracy(c.b), _points(c), c.says] for c in found.accuracy]
        lines += [_table(body, ["Accuracy", "A", "B", "Points", ""], ("left",) + ("right",) * 3 + ("left",)), ""]
    if found.latency:
        lines += [_table([_latency(c) for c in found.latency], _HEADERS, _ALIGN), ""]
        doubts = {c.comparison.says.partition("; ")[2] for c in found.latency if c.comparison.outcome == "cannot tell"}
        lines += [*(f"cannot tell: {doubt}" for doubt in sorted(doubts)), *([""] if doubts else [])]
    else:
        lines += ["no latency of both that was measured alike", ""]
    return "\n".join([*lines, *map(printable, found.unpaired)]).rstrip()


def diff_record(found: Diff) -> dict[str, object]:
    """The one JSON document."""
    return {
        "a": {"name": found.a.name, "digest": f"sha256:{found.a.digest}"},
        "b": {"name": found.b.name, "digest": f"sha256:{found.b.digest}"},
        "lineage": found.lineage,
        "facts": [{"name": f.name, "a": f.a, "b": f.b, "changed": f.changed, "change": f.says} for f in found.facts],
        "operators": [{"name": name, "a": a, "b": b} for name, a, b in found.operators],
        "accuracy": [
            {
                "metric": c.metric,
                "data": c.data,
                "a": c.a,
                "b": c.b,
                "points": c.points,
                "ci95_points": None if c.low is None else [c.low, c.high],
                "significant": c.significant,
                "says": c.says,
            }
            for c in found.accuracy
        ],
        "latency": [{**comparison_record(c.comparison), "marks": c.marks} for c in found.latency],
        "unpaired": found.unpaired,
    }


def comparison_record(c: Comparison) -> dict[str, object]:
    """A comparison without its samples."""
    m = c.second
    return {
        "device": m.device.name,
        "fingerprint": m.device.fingerprint,
        "abi": m.abi,
        "threads": m.threads_requested,
        "affinity": m.affinity,
        "metric": m.metric,
        "provenance": m.provenance,
        "a": _centre(c.first),
        "b": _centre(c.second),
        "ratio": c.ratio,
        "ci95": [c.low, c.high],
        "p": c.p,
        "outcome": c.outcome,
        "says": c.says,
    }


_HEADERS = ["Latency", "A ms", "B ms", "B/A", "95% interval", "B is"]
_ALIGN = ("left", "right", "right", "right", "right", "left")


def _latency(change: LatencyChange) -> list[str]:
    c = change.comparison
    m = c.second
    where = f"{m.device.name}, {m.abi}, {m.threads_requested} thr"
    where += f", CPUs {m.affinity}" if m.affinity else ""
    where += "" if m.metric == "latency" else ", M instructions"
    marks = f" ({', '.join(change.marks)})" if change.marks else ""
    a, b = (_shown(each) for each in (c.first, c.second))
    return [where, a, b, f"{c.ratio:.3f}", f"{c.low:.3f} to {c.high:.3f}", c.outcome + marks]


def _centre(m: Measurement) -> float | None:
    if m.metric == "instructions":
        return m.instructions.median if m.instructions else None
    return m.summary.median_ms if m.summary else None


def _shown(m: Measurement) -> str:
    centre = _centre(m)
    if centre is None:
        return "-"
    return millions(centre) if m.metric == "instructions" else milliseconds(centre)


def _accuracy(accuracy: Accuracy | None) -> str:
    return "-" if accuracy is None else f"{accuracy.value:.2f} (n={accuracy.samples})"


def _points(change: AccuracyChange) -> str:
    return "-" if change.points is None else f"{change.points:+.2f}"


def _table(rows: list[list[str]], headers: list[str], align: tuple[str, ...]) -> str:
    # A line end out of somebody's text would look like a row.
    rows = [[printable(text) for text in row] for row in rows]
    return tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True, colalign=align)
