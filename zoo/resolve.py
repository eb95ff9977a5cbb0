"""Constraints and candidates to a choice that can be explained. Pure, and the same whatever order they come in.

What counts. A latency counts where it was measured on exactly this file, on the device that is asked for, with its ABI,
threads, affinity and settings; the verdict is valid and the provenance hardware. Of each way of running (ABI, threads,
affinity, settings, runner, delegate) the newest valid measurement counts; where several systems bear the device's name,
the slowest of them; then the fastest way that was not ruled out. An inference of a batch is no latency unless the batch
is asked for. An accuracy counts where it was measured on exactly this file; of several, that on the most samples.
Published figures count with ``allow_published`` only, after measured ones; emulated ones never.

What decides. A latency is judged, and ranked, by the upper end of its 95% interval, so that a limit holds for what was
seen and not for its middle. Among those that fit: the best value of the first metric asked for (top1 where none is),
then the lowest latency, then the smallest file, then name and digest; ``prefer`` puts latency or size in front.

How near a miss is. The sum over its violated constraints of how far each is exceeded, relative to the limit; a figure
that is missing, or a format that differs, counts 1.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from zoo.artifact import AGREEMENT, Accuracy
from zoo.candidate import LOCAL, Candidate, CellFacts
from zoo.constraints import Constraints, as_options, number_text
from zoo.family import family
from zoo.reference import parse_reference
from zoo.timings import threads_text

# Whether it is published, and how it ran: ABI, threads, affinity, settings, runner, delegate.
_Way = tuple[bool, tuple[str, int, str, tuple[tuple[str, str], ...], str, str]]

MISSING = 1.0


@dataclass(frozen=True)
class Latency:
    """The measurement that speaks for a candidate. Milliseconds; ``upper_ms`` is what it is judged by.

    ``systems`` counts the fingerprints that were measured this way.
    """

    cell: CellFacts
    upper_ms: float
    systems: int = 1


@dataclass(frozen=True)
class Violation:
    """A constraint that does not hold.

    Args:
        constraint: the option's name.
        says: what was found against what was asked for.
        excess: how far beyond the limit, relative to it; MISSING where there is no figure.
        relaxed: a metric's name or None, and the limit that would do; None where there is none.
        missing: there is no figure that counts.
    """

    constraint: str
    says: str
    excess: float
    relaxed: tuple[str | None, float] | None = None
    missing: bool = False


@dataclass(frozen=True)
class Row:
    """A candidate held against what is asked for. ``accuracies`` has one value for each of ``Choice.metrics``."""

    candidate: Candidate
    accuracies: tuple[Accuracy | None, ...]
    latency: Latency | None
    violations: tuple[Violation, ...] = ()

    @property
    def distance(self) -> float:
        """How far it is from fitting; 0 where it fits."""
        return sum(violation.excess for violation in self.violations)


@dataclass(frozen=True)
class Choice:
    """The answer: what fits, the best first; what does not, the nearest first; and what should be known of it."""

    wanted: str
    constraints: Constraints
    metrics: tuple[str, ...]
    fits: tuple[Row, ...]
    misses: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def chosen(self) -> Row | None:
        """What would be pulled."""
        return self.fits[0] if self.fits else None

    @property
    def order(self) -> str:
        """The order of preference in words."""
        best = f"best {self.metrics[0]}" if self.metrics else "best accuracy"
        words = {"accuracy": best, "latency": "lowest latency", "size": "smallest file"}
        if self.constraints.device is None:
            del words["latency"]
        first = words.pop(self.constraints.prefer)
        return ", then ".join([first, *words.values(), "name"])


def resolve(wanted: str, constraints: Constraints, candidates: Sequence[Candidate]) -> Choice:
    """Choose among candidates.

    Args:
        wanted: a reference; without tag or digest its whole family counts (:mod:`zoo.family`). A remote in it is not
            looked at: who gathers candidates asks that remote alone.
        constraints: checked (:func:`zoo.constraints.check_constraints`).
        candidates: entries from anywhere; one that several places hold is one candidate.

    Raises:
        BadInput: ``wanted`` is no reference.
    """
    relatives = family(parse_reference(wanted), merged(candidates))
    metrics = _metrics(constraints, relatives.members)
    rows = [judge(candidate, constraints, metrics) for candidate in relatives.members]
    order = _Order(constraints, metrics)
    fits = sorted((row for row in rows if not row.violations), key=order)
    misses = sorted((row for row in rows if row.violations), key=lambda row: (row.distance, order(row)))
    notes = []
    if relatives.other_task:
        names = ", ".join(sorted({f"{c.name} ({c.task})" for c in relatives.other_task})[:5])
        notes.append(f"left out, for another task: {names}")
    if relatives.untagged:
        notes.append(
            f"left out, as no tag points at them: {len(relatives.untagged)} entries; NAME@sha256:... names one"
        )
    return Choice(wanted, constraints, metrics, tuple(fits), tuple(misses), (*notes, *_unlike_data(metrics, fits)))


def merged(candidates: Iterable[Candidate], order: Sequence[str] = ()) -> list[Candidate]:
    """Each name and digest once, with the cells and tags of all places; it counts as being in the first of them.

    The local store is first, then the sources in ``order``, then the others by name.
    """
    places = {source: number for number, source in enumerate((LOCAL, *order))}
    groups: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault((candidate.name, candidate.digest), []).append(candidate)
    found = []
    for same in groups.values():
        if len(same) == 1:
            found.append(same[0])
            continue
        same.sort(key=lambda c: (places.get(c.source, len(places)), c.source, msgspec.json.encode(c)))
        cells = {cell: None for c in same for cell in c.cells}
        tags = sorted({tag for c in same for tag in c.tags})
        found.append(msgspec.structs.replace(same[0], cells=tuple(cells), tags=tuple(tags)))
    return found


def judge(candidate: Candidate, constraints: Constraints, metrics: Sequence[str]) -> Row:
    """One candidate against all constraints, in the order format, size, metrics, latency."""
    found: list[Violation] = []
    if constraints.format is not None and candidate.format != constraints.format:
        says = f"{candidate.format}, not {constraints.format}"
        found.append(Violation("--format", says, MISSING))
    if constraints.max_size_mb is not None:
        size = candidate.size_bytes / 1e6
        found += _above("--max-size-mb", size, constraints.max_size_mb, f"{size:.2f} MB", None)
    accuracies = {}
    for metric in metrics:
        accuracies[metric] = accuracy = accuracy_of(candidate, metric, constraints)
        value = accuracy.value if isinstance(accuracy, Accuracy) else None
        for option, limits in (("--min", constraints.minimum), ("--max", constraints.maximum)):
            limit = dict(limits).get(metric)
            if limit is None:
                continue
            if value is None:
                found.append(Violation(option, str(accuracy), MISSING, missing=True))
            elif option == "--max":
                found += _above(option, value, limit, f"{metric} {value:.2f}", metric)
            elif value < limit:
                excess = (limit - value) / (abs(limit) or 1.0)
                says = f"{metric} {value:.2f} < {number_text(limit)}, {excess:.1%} short"
                found.append(Violation(option, says, excess, (metric, value)))
    latency = latency_of(candidate, constraints) if constraints.device is not None else None
    if isinstance(latency, str):
        found.append(Violation("--device", latency, MISSING, missing=True))
        latency = None
    if latency is not None and constraints.max_latency_ms is not None:
        text = f"{latency.upper_ms:.4g} ms"
        found += _above("--max-latency-ms", latency.upper_ms, constraints.max_latency_ms, text, None)
    values = tuple(a if isinstance(a := accuracies[metric], Accuracy) else None for metric in metrics)
    return Row(candidate, values, latency, tuple(found))


def _above(option: str, value: float, limit: float, text: str, metric: str | None) -> list[Violation]:
    if value <= limit:
        return []
    excess = (value - limit) / (abs(limit) or 1.0)
    return [Violation(option, f"{text} > {number_text(limit)}, {excess:.1%} over", excess, (metric, value))]


def accuracy_of(candidate: Candidate, metric: str, constraints: Constraints) -> Accuracy | str:
    """The accuracy that speaks for a candidate, or why there is none."""
    named = [a for a in candidate.accuracy if a.metric.casefold() == metric.casefold() and math.isfinite(a.value)]
    if not named:
        return f"no {metric} is known"
    own = [a for a in named if a.measured_on == candidate.digest]
    if not own:
        return f"{metric} was measured on another file"
    data = constraints.dataset
    fitting = [a for a in own if data is None or data in (a.dataset, f"{a.dataset}/{a.split}")]
    if not fitting:
        return f"no {metric} on {data}, but on {own[0].dataset}/{own[0].split}"
    counted = [a for a in fitting if a.provenance == "measured" or constraints.allow_published]
    if not counted:
        return f"{metric} was published, not measured"
    return min(counted, key=lambda a: (a.provenance != "measured", -a.samples, a.dataset, a.split, a.value))


def latency_of(candidate: Candidate, constraints: Constraints) -> Latency | str:
    """The measurement that speaks for a candidate on the device asked for, or why there is none."""
    ways: dict[_Way, dict[str, CellFacts]] = {}
    reached, why = -1, f"not measured on {constraints.device}"
    for cell in candidate.cells:
        if cell.device != constraints.device or cell.metric != "latency":
            continue
        step, reason = _counts(cell, candidate.digest, constraints)
        if reason is not None:
            reached, why = max((reached, why), (step, reason))
            continue
        run = (cell.abi, cell.threads, cell.affinity or "", cell.options, cell.runner, cell.delegate or "")
        systems = ways.setdefault((cell.provenance != "hardware", run), {})
        other = systems.get(cell.fingerprint)
        if other is None or _newness(cell) > _newness(other):
            systems[cell.fingerprint] = cell
    if not ways:
        return why
    slowest = {way: max(systems.values(), key=lambda c: (upper_ms(c), _newness(c))) for way, systems in ways.items()}
    best = min(slowest, key=lambda way: (way[0], upper_ms(slowest[way]), way[1]))
    return Latency(slowest[best], upper_ms(slowest[best]), len(ways[best]))


def upper_ms(cell: CellFacts) -> float:
    """The upper end of the interval; the centre where there is no interval (a published figure)."""
    centre = cell.centre_ms or 0.0
    return max(centre, *cell.ci95_ms) if cell.ci95_ms else centre


def _newness(cell: CellFacts) -> tuple[str, float, str]:
    return (cell.time, upper_ms(cell), cell.job_key)


def _counts(cell: CellFacts, digest: str, wanted: Constraints) -> tuple[int, str | None]:
    """Whether a cell of the device counts; where not, how many checks it passed and why it does not."""
    # Words are put together where they are needed: there may be a hundred thousand cells.
    if cell.artifact_sha256 != digest:
        return 1, "measured on another file"
    if wanted.fingerprint not in (None, cell.fingerprint):
        return 2, "measured on another machine or system of that name"
    if wanted.abi not in (None, cell.abi):
        return 3, f"measured as {cell.abi}, not as {wanted.abi}"
    if wanted.threads not in (None, cell.threads):
        return 4, f"measured with {threads_text(cell.threads)}, not with {wanted.threads}"
    if cell.threads_actual not in (None, cell.threads):
        return 5, f"it ran {cell.threads_actual} threads instead of {cell.threads}"
    if wanted.affinity not in (None, cell.affinity):
        return 6, f"measured on CPUs {cell.affinity or 'any'}, not {wanted.affinity}"
    if (cell.options or wanted.options) and not _settings_fit(dict(cell.options), dict(wanted.options)):
        return 7, f"measured with {', '.join(f'{k}={v}' for k, v in cell.options) or 'no settings'}"
    if cell.provenance == "emulated":
        return 8, "emulated, which says nothing of hardware"
    if cell.provenance == "published" and not wanted.allow_published:
        return 9, "published, not measured"
    if cell.provenance != "published" and cell.verdict != "valid":
        return 10, f"{cell.verdict}, not valid{f': {cell.reason}' if cell.reason else ''}"
    if cell.output_check == "differs":
        return 11, "it computes something else than the host"
    return (12, None) if _is_time(cell) else (12, "it has no time")


def _settings_fit(settings: dict[str, str], wanted: dict[str, str]) -> bool:
    """Those asked for, and no batch but the one asked for."""
    if "batch" not in wanted and settings.get("batch", "1") != "1":
        return False
    return all(settings.get(name) == value for name, value in wanted.items())


def _is_time(cell: CellFacts) -> bool:
    values = (cell.centre_ms, *(cell.ci95_ms or ()))
    return all(value is not None and math.isfinite(value) and value > 0 for value in values)


def _metrics(constraints: Constraints, members: Sequence[Candidate]) -> tuple[str, ...]:
    """What is asked for; where no metric is, what the family is best known by: top1, else its commonest."""
    asked = [metric for metric, _ in (*constraints.minimum, *constraints.maximum)]
    if asked:
        return tuple(dict.fromkeys(asked))
    seen = Counter(a.metric for c in members for a in c.accuracy if a.metric != AGREEMENT)
    if not seen:
        return ()
    return ("top1",) if "top1" in seen else (min(seen, key=lambda metric: (-seen[metric], metric)),)


def _unlike_data(metrics: Sequence[str], fits: Sequence[Row]) -> list[str]:
    """Accuracies of different data do not rank each other, and whoever reads the table must know."""
    found = []
    for number, metric in enumerate(metrics):
        data = sorted({f"{a.dataset}/{a.split}" for row in fits if (a := row.accuracies[number]) is not None})
        if len(data) > 1:
            found.append(
                f"{metric} was measured on different data ({', '.join(data[:4])}); --dataset names one to compare by"
            )
    return found


class _Order:
    """The sort key of rows: see the module."""

    def __init__(self, constraints: Constraints, metrics: Sequence[str]) -> None:
        self._prefer = constraints.prefer
        less = (
            metrics[0] in dict(constraints.maximum) and metrics[0] not in dict(constraints.minimum)
            if metrics
            else False
        )
        self._sign = 1.0 if less else -1.0

    def __call__(self, row: Row) -> tuple[float | str, ...]:
        accuracy = row.accuracies[0] if row.accuracies else None
        figures = {
            "accuracy": self._sign * accuracy.value if accuracy is not None else math.inf,
            "latency": row.latency.upper_ms if row.latency is not None else math.inf,
            "size": float(row.candidate.size_bytes),
        }
        first = figures.pop(self._prefer)
        return (first, *figures.values(), row.candidate.name, row.candidate.digest)


def relaxed(constraints: Constraints, row: Row) -> Constraints | None:
    """Constraints that a miss would satisfy, each limit moved no further than is needed; None where none would do."""
    minimum, maximum = dict(constraints.minimum), dict(constraints.maximum)
    changed = constraints
    for violation in row.violations:
        if violation.relaxed is None:
            return None
        metric, value = violation.relaxed
        if violation.constraint == "--min" and metric is not None:
            minimum[metric] = _down(value)
        elif violation.constraint == "--max" and metric is not None:
            maximum[metric] = _up(value)
        elif violation.constraint == "--max-size-mb":
            changed = msgspec.structs.replace(changed, max_size_mb=_up(value))
        else:
            changed = msgspec.structs.replace(changed, max_latency_ms=_up(value))
    return msgspec.structs.replace(changed, minimum=tuple(minimum.items()), maximum=tuple(maximum.items()))


def _up(value: float) -> float:
    """Three decimals, rounded so that the value still fits."""
    return math.ceil(value * 1000) / 1000 if abs(value) < 1e12 else value


def _down(value: float) -> float:
    return math.floor(value * 1000) / 1000 if abs(value) < 1e12 else value


def next_command(choice: Choice) -> str | None:
    """What may be typed where nothing fits: measure the nearest that only lacks a figure, or ask for a little less."""
    for row in choice.misses:
        candidate, wanted = row.candidate, choice.constraints
        name = f"{candidate.name}@sha256:{candidate.digest}"
        if all(v.constraint == "--device" and v.missing for v in row.violations):
            words = "" if candidate.source == LOCAL else f"zoo pull {candidate.source}/{name} && "
            words += f"harness run --device {wanted.device} --model {name} --publish"
            words += f" --threads {wanted.threads}" if wanted.threads is not None else ""
            words += f" --abi {wanted.abi}" if wanted.abi is not None else ""
            words += f" --affinity {wanted.affinity}" if wanted.affinity is not None else ""
            return words + "".join(f" --option {name}={value}" for name, value in wanted.options)
        less = relaxed(wanted, row)
        if less is not None:
            return f"zoo pull {choice.wanted} {as_options(less)}"
    return None
