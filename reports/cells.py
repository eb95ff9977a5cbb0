"""Measurements as the cells of a table: which one is shown, what mark it carries, which may be compared. Pure.

:class:`Material` is all that a report is made from. Its measurements come without raw samples where there may be many;
:meth:`Material.whole` reads them, :meth:`Material.history` the earlier rounds of a cell. The order of everything in it
depends on the records alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from reports import remembered
from reports.archive import Archive, InMemory
from reports.trained import Trained
from zoo.artifact import Artifact
from zoo.instants import instant
from zoo.measurement import Measurement
from zoo.past import Past, PastSummary, PastVerdict

if TYPE_CHECKING:
    from reports.drawings import Sensitivity
    from reports.steps import Pruned

CELL_ID = 12  # hex digits of the job key that name a cell

_STEP = r"(?:quant(?:-ema|-channelwise)?|prune\d+(?:\.\d+)?|sparse\d+(?:\.\d+)?|distil)"
_VARIANT = re.compile(rf"(?P<base>.+?)-(?P<variant>{_STEP}(?:-{_STEP})*)")


# Artifact digest, device, ABI, threads asked for: the question a cell answers.
CellKey = tuple[str, "DeviceKey", str, int]


@dataclass(frozen=True)
class Held:
    """An artifact of the zoo and the tags that point at it."""

    artifact: Artifact
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Material:
    """All that a report is made from. Each measurement appears once.

    ``measurements`` may lack their repeats and the evidence that exceeded no limit: ``archive`` has them. ``curves``
    are those of the searches that made an artifact, by its digest; ``pruned`` are networks that were pruned step by
    step. ``known_signs`` are those of :attr:`signs` that were remembered.
    """

    held: tuple[Held, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    trained: tuple[Trained, ...] = ()
    archive: Archive = field(default_factory=InMemory, repr=False, compare=False)
    curves: Mapping[str, tuple[Sensitivity, ...]] = field(default_factory=dict)
    pruned: tuple[Pruned, ...] = ()
    known_signs: Mapping[tuple[str, str], str] = field(default_factory=dict, repr=False, compare=False)
    by_digest: dict[str, Held] = field(init=False, repr=False, compare=False)
    by_place: dict[CellKey, list[Measurement]] = field(init=False, repr=False, compare=False)
    _of_artifact: dict[str, list[Measurement]] = field(init=False, repr=False, compare=False)
    _of_job: dict[str, list[Measurement]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        first: dict[str, Held] = {}
        for item in self.held:
            first.setdefault(item.artifact.digest, item)
        object.__setattr__(self, "by_digest", first)
        places: dict[CellKey, list[Measurement]] = {}
        for cell in self.measurements:
            places.setdefault(place_of(cell), []).append(cell)
        object.__setattr__(self, "by_place", places)
        of_artifact: dict[str, list[Measurement]] = {}
        of_job: dict[str, list[Measurement]] = {}
        for cell in self.measurements:
            of_artifact.setdefault(cell.artifact_sha256, []).append(cell)
            of_job.setdefault(cell.job_key, []).append(cell)
        object.__setattr__(self, "_of_artifact", of_artifact)
        object.__setattr__(self, "_of_job", of_job)

    def cells(self, digest: str, device: DeviceKey, abi: str, threads: int) -> list[Measurement]:
        """Every cell of an artifact at one place."""
        return self.by_place.get((digest, device, abi, threads), [])

    def by_artifact(self, digest: str) -> list[Measurement]:
        """Every cell of an artifact."""
        return self._of_artifact.get(digest, [])

    def whole(self, cells: Sequence[Measurement]) -> Iterator[Measurement]:
        """These cells with every raw sample, in their order, read in batches."""
        return self.archive.whole(cells)

    def history(self, cells: Sequence[Measurement]) -> dict[str, tuple[Past, ...]]:
        """Every round of the job keys of these cells that is known, oldest first, by job key."""
        wanted = {cell.job_key for cell in cells}
        found: dict[tuple[str, str], Past] = {}
        for job_key in wanted:
            for cell in self._of_job.get(job_key, ()):
                found[job_key, cell.time] = past_of(cell)
        for key, rounds in self.archive.history(sorted(wanted)).items():
            found.update({(key, past.time): past for past in rounds})
        told: dict[str, list[Past]] = {}
        for (key, _), past in sorted(found.items(), key=lambda item: (instant(item[0][1]) or 0.0, item[0])):
            told.setdefault(key, []).append(past)
        return {key: tuple(rounds) for key, rounds in told.items()}

    @cached_property
    def rounds(self) -> dict[str, int]:
        """How many rounds of each job key are stored; a round that is there never changes."""
        return self.archive.rounds()

    @cached_property
    def signs(self) -> dict[tuple[str, str], str]:
        """A digest of each measurement, by (job key, time)."""
        known = self.known_signs
        return {
            (key := (cell.job_key, cell.time)): known.get(key) or remembered.sign(cell) for cell in self.measurements
        }

    @cached_property
    def artifact_signs(self) -> dict[str, str]:
        """A digest of each entry with its tags, by the digest of its file."""
        encoder = msgspec.msgpack.Encoder(order="deterministic")
        return {
            digest: remembered.digest_of(encoder.encode((held.artifact, held.tags)))
            for digest, held in self.by_digest.items()
        }

    @cached_property
    def artifacts_key(self) -> str:
        """A digest of all entries with their tags."""
        return remembered.digest_of(
            " ".join(f"{digest} {sign}" for digest, sign in self.artifact_signs.items()).encode()
        )

    def sign(self, cell: Measurement) -> str:
        """A digest of a measurement."""
        return self.signs[cell.job_key, cell.time]

    def sign_of(self, digest: str) -> str:
        """A digest of an artifact and of everything measured of it, on whatever device."""
        found = self._told.get(digest)
        if found is None:
            signs = self.signs
            parts = [signs[cell.job_key, cell.time] for cell in self._of_artifact.get(digest, ())]
            found = self._told[digest] = remembered.digest_of(
                f"{self.artifact_signs.get(digest, '')} {' '.join(parts)}".encode()
            )
        return found

    @cached_property
    def _told(self) -> dict[str, str]:
        return {}


class DeviceKey(NamedTuple):
    """A device as reports tell devices apart: two machines that share a name differ in their fingerprint."""

    name: str
    fingerprint: str


class Setup(NamedTuple):
    """What must be equal before two latencies may be compared, besides device, ABI and threads."""

    runner: str
    version: str
    binary_sha256: str
    runtime: str
    delegate: str
    warmup: int
    runs: int
    options: tuple[tuple[str, str], ...] = ()
    centre: str = "median"


def past_of(cell: Measurement) -> Past:
    """A cell as its history tells it."""
    summary = PastSummary(cell.summary.median_ms, cell.summary.ci95_ms) if cell.summary else None
    return Past(cell.job_key, cell.time, cell.provenance, PastVerdict(cell.verdict.name), summary)


def repeat_count(cell: Measurement) -> int:
    """How many processes stand behind a cell, also where it was read without them."""
    return len(cell.repeats) or (len(cell.summary.repeat_medians_ms) if cell.summary else 0)


def cell_id(measurement: Measurement) -> str:
    """The short name of a cell; ``cells.json`` has the raw samples under it."""
    return measurement.job_key[:CELL_ID]


def device_of(measurement: Measurement) -> DeviceKey:
    """The device a cell was measured on."""
    return DeviceKey(measurement.device.name, measurement.device.fingerprint)


def place_of(measurement: Measurement) -> CellKey:
    """The question a cell answers."""
    return (measurement.artifact_sha256, device_of(measurement), measurement.abi, measurement.threads_requested)


def setup_of(measurement: Measurement) -> Setup:
    """The runner and protocol a cell was measured with."""
    runner = measurement.runner
    return Setup(
        runner=runner.name,
        version=runner.version,
        binary_sha256=runner.binary_sha256,
        runtime=runner.runtime or "",
        delegate=runner.delegate or "",
        warmup=measurement.warmup,
        runs=measurement.runs,
        options=measurement.options,
        centre=measurement.summary.centre if measurement.summary else "median",
    )


def merge(
    held: Iterable[Held],
    measurements: Iterable[Measurement],
    archive: Archive | None = None,
    trained: tuple[Trained, ...] = (),
    curves: Mapping[str, tuple[Sensitivity, ...]] | None = None,
    signs: Mapping[tuple[str, str], str] | None = None,
    pruned: tuple[Pruned, ...] = (),
) -> Material:
    """Everything once, in an order that does not depend on where it came from.

    Args:
        held: the zoo's artifacts with their tags.
        measurements: of any metric; those that are not latencies are left out.
        archive: where samples and earlier rounds are; by default the measurements hold their own samples.
        trained: what training gave, by recipe.
        curves: of searches, by the digest of the artifact that they led to.
        pruned: networks pruned step by step.
        signs: of measurements whose digests are known, by (job key, time).
    """
    entries = {(item.artifact.name, item.artifact.digest): item for item in held}
    # Counts of instructions are no latencies, and every table here is one of latencies.
    cells = {(m.job_key, m.time): m for m in measurements if m.metric == "latency"}
    return Material(
        held=tuple(Held(entries[key].artifact, tuple(sorted(entries[key].tags))) for key in sorted(entries)),
        measurements=tuple(cells[key] for key in sorted(cells)),
        trained=trained,
        archive=archive or InMemory(),
        curves=dict(curves or {}),
        pruned=pruned,
        known_signs=signs or {},
    )


def marks(measurement: Measurement) -> tuple[str, ...]:
    """The marks of a cell: where the number comes from if not from hardware, then what is wrong with it.

    ``✓`` stands only on a valid number measured on hardware.
    """
    return _marks(measurement.provenance, measurement.verdict.name)


@cache
def _marks(provenance: str, verdict: str) -> tuple[str, ...]:
    found = []
    if provenance != "hardware":
        found.append({"emulated": "†emulated", "published": "‡published"}[provenance])
    if verdict == "emulated":
        found.insert(0, "†emulated")
    elif verdict != "valid":
        found.append(f"!{verdict}")
    return tuple(dict.fromkeys(found)) or ("✓",)


def believable(measurement: Measurement) -> bool:
    """Whether a cell has a number with no mark against it and comes from hardware."""
    return measurement.summary is not None and marks(measurement) == ("✓",)


def preference(measurement: Measurement) -> tuple[bool, bool, bool, str, str]:
    """Sort key for cells that answer the same question; the largest is shown.

    Hardware before emulated and published, valid before anything else, a number before none, then the newest. What is
    not shown stays in ``cells.json``.
    """
    return (
        measurement.summary is not None,
        measurement.provenance == "hardware",
        measurement.verdict.name == "valid",
        measurement.time,
        measurement.job_key,
    )


def shown(material: Material) -> dict[CellKey, Measurement]:
    """The cell to show for each (artifact digest, device, ABI, threads)."""
    return {place: max(cells, key=preference) for place, cells in material.by_place.items()}


@lru_cache(maxsize=1 << 16)
def split_name(name: str) -> tuple[str, str]:
    """Model and strategy of a name: ``mobilenetv2-distil-quant`` gives ``("mobilenetv2", "distil-quant")``.

    The strategy of a model as it was trained is ``none``; names given by authors (``amc-...``) stay whole.
    """
    if name.startswith("amc-"):
        base, _, rest = name.partition("-quant")
        return (base, "quant" + rest) if _ else (name, "none")
    match = _VARIANT.fullmatch(name)
    return (match["base"], match["variant"]) if match else (name, "none")


def is_quantized(name: str, relation: str | None = None) -> bool:
    """Whether a name or the relation to its parent says that the model's numbers have 8 bits."""
    return "quant" in split_name(name)[1] or "quant" in (relation or "")


def unlike(one: Measurement, other: Measurement) -> tuple[str, ...]:
    """What keeps two cells from being compared; empty where they may be."""
    differences = []
    if device_of(one) != device_of(other):
        differences.append("device")
    if one.abi != other.abi:
        differences.append("ABI")
    if one.threads_requested != other.threads_requested:
        differences.append("threads")
    if one.affinity != other.affinity:
        differences.append("affinity")
    if one.provenance != other.provenance:
        differences.append("provenance")
    mine, theirs = setup_of(one), setup_of(other)
    if (mine.runner, mine.version, mine.binary_sha256, mine.runtime) != (
        theirs.runner,
        theirs.version,
        theirs.binary_sha256,
        theirs.runtime,
    ):
        differences.append("runner")
    if mine.delegate != theirs.delegate:
        differences.append("delegate")
    if mine.options != theirs.options:
        differences.append("options")
    if one.summary and other.summary and mine.centre != theirs.centre:
        differences.append("a mean and a median")
    if (mine.warmup, mine.runs) != (theirs.warmup, theirs.runs):
        differences.append("protocol")
    return tuple(differences)
