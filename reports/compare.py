"""A model against its parent: speed-up, difference in accuracy and size. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from reports.cells import Held, Material, believable, marks, unlike
from reports.numbers import difference, ratio
from reports.values import Change, Missing, Ratio, Score
from zoo.artifact import Accuracy, Artifact
from zoo.measurement import Measurement
from zoo.proportions import wilson


def headline(artifact: Artifact) -> Accuracy | None:
    """The metric a model is chosen by: top-1 where there is one, else its first; measured before published."""
    top1 = [entry for entry in artifact.accuracy if metric_name(entry.metric) == "top1"]
    pool = top1 or list(artifact.accuracy)
    return min(pool, key=lambda entry: entry.provenance != "measured", default=None)


def metric_name(metric: str) -> str:
    """One spelling for ``top1``, ``Top-1`` and ``top_1``."""
    return metric.lower().replace("-", "").replace("_", "").replace(" ", "")


def score(accuracy: Accuracy, digest: str) -> Score:
    """An accuracy as a table's value. Shares in percent get a Wilson interval where the record brings none.

    Args:
        accuracy: the record.
        digest: the file the row is about; a figure computed on another file is marked as such.
    """
    low, high = accuracy.ci95 or (None, None)
    share = metric_name(accuracy.metric).startswith("top") or metric_name(accuracy.metric) == "accuracy"
    if low is None and share and accuracy.provenance == "measured" and 0 <= accuracy.value <= 100:
        ends = wilson(round(accuracy.value / 100 * accuracy.samples), accuracy.samples)
        low, high = ends[0] * 100, ends[1] * 100
    found = []
    if accuracy.provenance == "published":
        found.append("‡published")
    elif accuracy.measured_on != digest:
        found.append("!on another file")
    return Score(
        value=accuracy.value,
        unit="%" if share else "",
        low=low,
        high=high,
        samples=accuracy.samples,
        dataset=f"{accuracy.dataset}/{accuracy.split}",
        marks=tuple(found),
    )


def accuracy_change(child: Artifact, parent: Artifact | None) -> Change | Missing:
    """Points lost or won against the parent, measured on the same samples; anything else cannot be subtracted."""
    if parent is None:
        return _no_parent(child)
    mine, theirs = headline(child), headline(parent)
    if mine is None or theirs is None:
        return Missing("not measured")
    why = _not_subtractable(mine, theirs)
    if why:
        return Missing(why)
    ours, base = score(mine, child.digest), score(theirs, parent.digest)
    if ours.low is None or ours.high is None or base.low is None or base.high is None:
        return Change(ours.value - base.value, "", 2)
    value, low, high = difference((ours.value, ours.low, ours.high), (base.value, base.low, base.high))
    return Change(value, "", 2, low, high)


def _no_parent(child: Artifact) -> Missing:
    return Missing("no parent" if child.parent is None else "parent not in the zoo")


def _not_subtractable(mine: Accuracy, theirs: Accuracy) -> str | None:
    if metric_name(mine.metric) != metric_name(theirs.metric):
        return "another metric"
    if (mine.dataset, mine.split, mine.samples) != (theirs.dataset, theirs.split, theirs.samples):
        return "other samples"
    if mine.provenance != theirs.provenance:
        return "one measured, one published"
    return None


def size_change(child: Artifact, parent: Artifact | None) -> Change | Missing:
    """How many percent smaller or larger than the parent."""
    if parent is None:
        return _no_parent(child)
    if parent.size_bytes == 0:
        return Missing("parent is empty")
    return Change(100 * (child.size_bytes / parent.size_bytes - 1), "%", 1)


def parent_of(material: Material, held: Held) -> Artifact | None:
    """The parent as the zoo holds it; None where there is none or the zoo lacks it."""
    parent = held.artifact.parent
    found = material.by_digest.get(parent.digest) if parent else None
    return found.artifact if found else None


def pair_alike(
    child: Artifact, cells: Iterable[Measurement], parent_cells: Iterable[Measurement]
) -> tuple[Measurement, Measurement] | Missing:
    """The newest (child, parent) cells measured alike; pairs in which both can be believed go first.

    Args:
        child: the model; the reason for an empty cell is read off it.
        cells: its cells on one device, one ABI, one number of threads.
        parent_cells: the parent's cells at the same place.
    """
    if child.parent is None:
        return Missing("no parent")
    mine = [cell for cell in cells if cell.summary]
    theirs = [cell for cell in parent_cells if cell.summary]
    if not mine:
        return Missing("not measured")
    if not theirs:
        return Missing("parent not measured")
    pairs = [(a, b) for a in mine for b in theirs if not unlike(a, b)]
    if not pairs:
        reasons = sorted({reason for a in mine for b in theirs for reason in unlike(a, b)})
        return Missing(f"parent measured otherwise ({', '.join(reasons)})")
    return max(pairs, key=_pair_preference)


def speed_up(pair: tuple[Measurement, Measurement] | Missing) -> Ratio | Missing:
    """How many times faster the first of a pair is than the second, its parent.

    Where a cell of the pair cannot be believed the ratio is still given, and its caveats name the marks.

    Args:
        pair: from :func:`pair_alike`.
    """
    if isinstance(pair, Missing):
        return pair
    child, parent = pair
    if child.summary is None or parent.summary is None:
        return Missing("not measured")
    found = ratio(
        (parent.summary.median_ms, *parent.summary.ci95_ms), (child.summary.median_ms, *child.summary.ci95_ms)
    )
    return Missing("shorter than the clock tells") if found is None else Ratio(*found, caveats(child, parent))


def _pair_preference(pair: tuple[Measurement, Measurement]) -> tuple[bool, str, str, str, str]:
    one, other = pair
    return (
        believable(one) and believable(other),
        max(one.time, other.time),
        min(one.time, other.time),
        one.job_key,
        other.job_key,
    )


def caveats(cell: Measurement, parent: Measurement, other: str = "parent") -> tuple[str, ...]:
    """The marks of two cells that a ratio leans on; ``other`` names the second."""
    mine, theirs = ([mark for mark in marks(one) if mark != "✓"] for one in (cell, parent))
    both = [f"both {mark}" for mark in mine if mark in theirs]
    return (*both, *(m for m in mine if m not in theirs), *(f"{other} {m}" for m in theirs if m not in mine))
