"""What changed between two states of zoo and results: slower, bigger, less accurate, and how sure that is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from reports.cells import DeviceKey, Held, Material, believable, cell_id, device_of, marks, unlike
from reports.compare import accuracy_change, caveats, headline, score, size_change
from reports.values import Change, Column, Latency, Missing, Ratio, Size, Table, Text, Value
from zoo.comparison import Comparison, breaks, compared, gate_refusals
from zoo.measurement import Measurement

Word = Literal[
    "slower", "slower by the interval alone", "faster", "faster by the interval alone", "no difference", "cannot tell"
]
WORSE: tuple[Word, ...] = ("slower", "slower by the interval alone")
BETTER: tuple[Word, ...] = ("faster", "faster by the interval alone")
MOST_ROWS = 100
BATCH = 200  # pairs whose samples are in memory at once

Place = tuple[str, DeviceKey, str, int]  # model, device, ABI, threads asked for


@dataclass(frozen=True)
class Latencies:
    """One place measured in both states. ``broken``: the gate does not hold; ``ungated``: why it cannot be asked."""

    comparison: Comparison
    word: Word
    broken: bool = False
    ungated: tuple[str, ...] = ()


@dataclass(frozen=True)
class Models:
    """A model of which the two states have different files."""

    before: Held
    after: Held
    size: Change | Missing
    accuracy: Change | Missing
    broken: tuple[str, ...] = ()


@dataclass(frozen=True)
class Difference:
    """All that changed. ``unlike`` holds places measured in both states in ways that cannot be compared, and why."""

    latencies: tuple[Latencies, ...]
    models: tuple[Models, ...]
    same_cells: int
    unlike: tuple[tuple[Place, str], ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]

    @property
    def broken(self) -> bool:
        """Whether the gate does not hold somewhere."""
        return any(one.broken for one in self.latencies) or any(one.broken for one in self.models)


def current(material: Material) -> dict[str, Held]:
    """The artifact each name stands for: the one tagged ``latest``, else the one made last."""
    found: dict[str, Held] = {}
    for item in sorted(material.held, key=lambda h: ("latest" in h.tags, h.artifact.created or "", h.artifact.digest)):
        found[item.artifact.name] = item
    return found


def difference(
    before: Material, after: Material, *, gate: float | None = None, device: str | None = None
) -> Difference:
    """Compare two states.

    Latencies are compared place by place (model, device, ABI, threads), cells measured alike only, with the test of
    ``harness compare``; a measurement that is in both states is not compared with itself.

    Args:
        before: the earlier state.
        after: the later one.
        gate: a share; slower by more, significantly, or bigger by more, or less accurate at all where the interval
            says so, breaks it.
        device: only latencies of this one.
    """
    old, new = current(before), current(after)
    mine, theirs = _places(after, new, device), _places(before, old, device)
    pairs: list[tuple[Measurement, Measurement]] = []
    same, other = 0, []
    for place in sorted(mine.keys() & theirs.keys()):
        chosen = _pair(theirs[place], mine[place])
        if isinstance(chosen, str):
            other.append((place, chosen))
        elif (chosen[0].job_key, chosen[0].time) == (chosen[1].job_key, chosen[1].time):
            same += 1
        else:
            pairs.append(chosen)
    told = [_told(one, gate) for one in _compared(before, after, pairs)]
    models = [
        _models(old[name], new[name], gate)
        for name in sorted(old.keys() & new.keys())
        if old[name].artifact.digest != new[name].artifact.digest
    ]
    return Difference(
        latencies=tuple(sorted(told, key=lambda one: (not one.broken, not _on_hardware(one), -one.comparison.ratio))),
        models=tuple(models),
        same_cells=same,
        unlike=tuple(other),
        new=tuple(sorted(new.keys() - old.keys())),
        gone=tuple(sorted(old.keys() - new.keys())),
    )


def _places(material: Material, chosen: dict[str, Held], device: str | None) -> dict[Place, list[Measurement]]:
    """Cells with a number by place; of a model that the zoo holds, those of the file its name stands for."""
    found: dict[Place, list[Measurement]] = {}
    for cell in material.measurements:
        held = chosen.get(cell.model)
        if cell.summary is None or (held and held.artifact.digest != cell.artifact_sha256):
            continue
        if device is None or cell.device.name == device:
            found.setdefault((cell.model, device_of(cell), cell.abi, cell.threads_requested), []).append(cell)
    return found


def _pair(before: list[Measurement], after: list[Measurement]) -> tuple[Measurement, Measurement] | str:
    """The newest two that were measured alike, those first that can be believed; else in what all differ."""

    def preference(cell: Measurement) -> tuple[bool, str, str]:
        return (believable(cell), cell.time, cell.job_key)

    pairs = [(a, b) for a in before for b in after if not unlike(a, b)]
    if pairs:
        return max(pairs, key=lambda pair: (preference(pair[1]), preference(pair[0])))
    return ", ".join(sorted({reason for a in before for b in after for reason in unlike(a, b)}))


def _compared(
    before: Material, after: Material, pairs: Sequence[tuple[Measurement, Measurement]]
) -> Iterable[Comparison]:
    """The comparisons, with samples read in batches."""
    left = iter(pairs)
    while batch := list(islice(left, BATCH)):
        firsts = before.whole([first for first, _ in batch])
        seconds = after.whole([second for _, second in batch])
        yield from (compared(first, second) for first, second in zip(firsts, seconds, strict=True))


def _told(comparison: Comparison, gate: float | None) -> Latencies:
    word: Word = comparison.outcome
    if comparison.p is None and (comparison.low > 1 or comparison.high < 1):
        word = "slower by the interval alone" if comparison.ratio > 1 else "faster by the interval alone"
    if gate is None or not breaks(comparison, gate):
        return Latencies(comparison, word)
    refused = tuple(gate_refusals(comparison))
    return Latencies(comparison, word, broken=not refused, ungated=refused)


def _models(before: Held, after: Held, gate: float | None) -> Models:
    size, accuracy = size_change(after.artifact, before.artifact), accuracy_change(after.artifact, before.artifact)
    broken = []
    if gate is not None:
        if isinstance(size, Change) and size.value > 100 * gate:
            broken.append("bigger")
        if less_accurate(accuracy):
            broken.append("less accurate")
    return Models(before, after, size, accuracy, tuple(broken))


def less_accurate(change: Change | Missing) -> bool:
    """Whether the interval of a change lies below 0."""
    return isinstance(change, Change) and change.high is not None and change.high < 0


def more_accurate(change: Change | Missing) -> bool:
    """Whether the interval of a change lies above 0."""
    return isinstance(change, Change) and change.low is not None and change.low > 0


def _on_hardware(one: Latencies) -> bool:
    return one.comparison.second.provenance == "hardware"


def latency_table(title: str, found: Sequence[Latencies]) -> Table:
    """Places with their latency before and after."""
    columns = (
        Column("Model"), Column("Device"), Column("ABI"), Column("Threads", "right"), Column("Before (ms)", "right"),
        Column("After (ms)", "right"), Column("After / before", "right"), Column("Test"), Column("Says"),
    )  # fmt: skip
    rows: list[tuple[Value, ...]] = []
    for one in found[:MOST_ROWS]:
        result, cell_before, cell = one.comparison, one.comparison.first, one.comparison.second
        ratio = Ratio(result.ratio, result.low, result.high, caveats(result.second, cell_before, "before"))
        test = "too few repeats" if result.p is None else f"p = {result.p:.2g}"
        gate = " (gate broken)" if one.broken else f" (no gate: {'; '.join(one.ungated)})" if one.ungated else ""
        rows.append(
            (
                Text(cell.model), Text(cell.device.name), Text(cell.abi), Text(str(cell.threads_requested)),
                _latency(result.first), _latency(cell), ratio, Text(test),
                Text(one.word + gate),
            )
        )  # fmt: skip
    return Table(title, columns, tuple(rows), _more(len(found)))


def _latency(cell: Measurement) -> Value:
    if cell.summary is None:
        return Missing("failed")
    low, high = cell.summary.ci95_ms
    return Latency(cell.summary.median_ms, (high - low) / 2, marks(cell), cell_id(cell), centre=cell.summary.centre)


def model_table(found: Sequence[Models]) -> Table:
    """Models with another file: size and accuracy before and after."""
    columns = (
        Column("Model"), Column("File before"), Column("File after"), Column("Size before (MB)", "right"),
        Column("Size after (MB)", "right"), Column("Δ size", "right"), Column("Accuracy before"),
        Column("Accuracy after"), Column("Δ accuracy", "right"), Column("Says"),
    )  # fmt: skip
    rows: list[tuple[Value, ...]] = []
    for one in found[:MOST_ROWS]:
        old, new = one.before.artifact, one.after.artifact
        rows.append(
            (
                Text(new.name), Text(old.digest[:8], code=True), Text(new.digest[:8], code=True), Size(old.size_bytes),
                Size(new.size_bytes), one.size, _score(one.before), _score(one.after), one.accuracy,
                Text(says(one)),
            )
        )  # fmt: skip
    return Table("Models with another file", columns, tuple(rows), _more(len(found)))


def says(one: Models) -> str:
    """What changed of a model, in words."""
    found = []
    if isinstance(one.size, Change) and one.size.value:
        found.append("bigger" if one.size.value > 0 else "smaller")
    if less_accurate(one.accuracy):
        found.append("less accurate")
    elif more_accurate(one.accuracy):
        found.append("more accurate")
    elif isinstance(one.accuracy, Change):
        found.append("no difference in accuracy shown")
    return ", ".join(found) + (f" (gate broken: {', '.join(one.broken)})" if one.broken else "")


def _score(held: Held) -> Value:
    found = headline(held.artifact)
    return score(found, held.artifact.digest) if found else Missing("not measured")


def unlike_table(found: Sequence[tuple[Place, str]]) -> Table:
    """Places that could not be compared."""
    columns = (Column("Model"), Column("Device"), Column("ABI"), Column("Threads", "right"), Column("Differ in"))
    rows = tuple(
        (Text(model), Text(device.name), Text(abi), Text(str(threads)), Text(why))
        for (model, device, abi, threads), why in found[:MOST_ROWS]
    )
    return Table("Measured otherwise, not compared", columns, rows, _more(len(found)))


def _more(rows: int) -> tuple[str, ...]:
    return (f"and {rows - MOST_ROWS:,} more",) if rows > MOST_ROWS else ()


def parts(found: Difference, before: str, after: str, escape: Callable[[str], str]) -> list[str | Table]:
    """The difference as paragraphs and tables, what got worse first.

    Args:
        found: what changed.
        before: what the earlier state is called.
        after: what the later one is called.
        escape: makes words of others into text of the format.
    """
    worse = [one for one in found.latencies if one.word in WORSE]
    better = [one for one in found.latencies if one.word in BETTER]
    told: list[str | Table] = [f"# What changed: {escape(before)} to {escape(after)}", summary(found)]
    if worse:
        told += ["## Slower", latency_table("Slower", worse)]
    if found.models:
        told += ["## Models with another file", model_table(sorted(found.models, key=_worst_first))]
    if better:
        told += ["## Faster", latency_table("Faster", list(reversed(better)))]
    if found.unlike:
        told += ["## Measured otherwise, not compared", unlike_table(found.unlike)]
    for word, names in (("New", found.new), ("Gone", found.gone)):
        if names:
            more = f", and {len(names) - MOST_ROWS:,} more" if len(names) > MOST_ROWS else ""
            told.append(f"{word}: {', '.join(escape(name) for name in names[:MOST_ROWS])}{more}.")
    if found.latencies:
        told.append(
            "A latency is called slower or faster where the 95% interval of the ratio of medians (two-level bootstrap) "
            "excludes 1 and a Mann-Whitney U test over the repeats agrees at 5%; with fewer than 4 repeats no such "
            "test can, and the interval stands alone. Of many pairs that did not change some differ at that level by "
            f"chance: {len(found.latencies)} were compared."
        )
    return told


def _worst_first(one: Models) -> tuple[bool, bool, float, str]:
    size = one.size.value if isinstance(one.size, Change) else 0.0
    return (not one.broken, not less_accurate(one.accuracy), -size, one.after.artifact.name)


def summary(found: Difference) -> str:
    """The counts in one paragraph."""
    words = [one.word for one in found.latencies]
    counts = [f"{words.count(word)} {word}" for word in dict.fromkeys((*WORSE, *BETTER)) if words.count(word)]
    equal = words.count("no difference") + words.count("cannot tell")
    counts.append(f"{equal} without a difference that could be shown")
    bigger = sum(isinstance(one.size, Change) and one.size.value > 0 for one in found.models)
    less = sum(less_accurate(one.accuracy) for one in found.models)
    text = (
        f"Latencies measured again: {len(words)}" + (f" ({', '.join(counts)})" if words else "")
        + f"; not measured again: {found.same_cells}; measured otherwise: {len(found.unlike)}. "
        f"Models with another file: {len(found.models)} ({bigger} bigger, {less} less accurate); new: "
        f"{len(found.new)}; gone: {len(found.gone)}."
    )  # fmt: skip
    broken = sum(one.broken for one in found.latencies) + sum(bool(one.broken) for one in found.models)
    refused = sum(bool(one.ungated) for one in found.latencies)
    if broken:
        text += f" **The gate does not hold: {broken}.**"
    if refused:
        text += f" {refused} beyond the gate cannot carry one (emulated, or with a mark)."
    return text


def record(found: Difference) -> dict[str, object]:
    """The difference for ``--json``."""
    return {
        "broken": found.broken,
        "latencies": [
            {
                "model": one.comparison.second.model,
                "device": one.comparison.second.device.name,
                "abi": one.comparison.second.abi,
                "threads": one.comparison.second.threads_requested,
                "before": {"cell": cell_id(one.comparison.first), "time": one.comparison.first.time},
                "after": {"cell": cell_id(one.comparison.second), "time": one.comparison.second.time},
                "ratio": one.comparison.ratio,
                "interval": [one.comparison.low, one.comparison.high],
                "p": one.comparison.p,
                "says": one.word,
                "broken": one.broken,
                "ungated": list(one.ungated),
            }
            for one in found.latencies
        ],
        "models": [
            {
                "model": one.after.artifact.name,
                "before": one.before.artifact.digest,
                "after": one.after.artifact.digest,
                "size_percent": one.size.value if isinstance(one.size, Change) else None,
                "accuracy_points": one.accuracy.value if isinstance(one.accuracy, Change) else None,
                "accuracy_interval": [one.accuracy.low, one.accuracy.high]
                if isinstance(one.accuracy, Change)
                else None,
                "says": says(one),
                "broken": list(one.broken),
            }
            for one in found.models
        ],
        "not_measured_again": found.same_cells,
        "measured_otherwise": [
            {"model": model, "device": device.name, "abi": abi, "threads": threads, "differ": why}
            for (model, device, abi, threads), why in found.unlike
        ],
        "new": list(found.new),
        "gone": list(found.gone),
    }
