"""The look-up table of a device: which points are missing, measured within a budget, kept on disk.

    $POCKETZOO_HOME/latency/tables/DIGEST.json     one table: device, ABI, threads, runner; every point ever measured
    $POCKETZOO_HOME/latency/{zoo,results.sqlite}   the harness's files and raw samples

A point that is in the table is never measured again, whichever network asked for it. The harness keeps every repeat
when it ends, so that a search that was killed asks again and measures only what is missing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from compressors.search.part_files import part_file, runs_of
from compressors.search.parts import Geometry, Part
from compressors.search.table import OVERHEAD, OVERHEAD_AT, Grid, Point, Predictor, grids
from pocketzoo.decodable import decodable
from pocketzoo.errors import BadInput, PocketzooError, WorkFailed
from pocketzoo.files import sha256_bytes, write_atomically
from pocketzoo.home import home
from zoo.measurement import Measurement
from zoo.meter import RETRIED, Identity, Meter, Piece, figure

SCHEMA = 1
POINTS = 3
"""Of each axis: the two ends, between which a search moves, and one between."""
REPEATS = 3
NETWORK_REPEATS = 5
"""Processes of a layer, of a network: a network is what is held to, and five give an interval worth the name."""
COUNTED = (1, 1, 1)
"""Warm-up, runs, processes where instructions are counted: a count repeats."""
WARMUP = 10

Say = Callable[[str], None]


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number that was measured: milliseconds or instructions, its interval, and whether it can be believed.

    ``what`` is a layer's geometry with its channels, or a whole network's channels. ``sum`` is, of a network, what its
    layers came to.
    """

    what: str
    name: str
    sha256: str
    value: float
    low: float
    high: float
    verdict: str
    reason: str | None = None
    tries: int = 1
    job_key: str
    time: str

    @property
    def doubtful(self) -> bool:
        """Whether measuring again may give another verdict."""
        return self.verdict in RETRIED


class Kept(Struct, kw_only=True, forbid_unknown_fields=True):
    """A table as it is on disk. ``spent`` counts every measurement that was ever made for it."""

    schema: int = SCHEMA
    identity: dict[str, str]
    spent: int = 0
    layers: dict[str, Entry] = {}
    networks: dict[str, Entry] = {}


decodable(Entry, Kept)


class Spent(BadInput):
    """The budget has no room for what is asked."""


@dataclass
class Budget:
    """Measurements one command may make. A measurement is one file, with all its processes."""

    most: int
    spent: int = 0

    @property
    def left(self) -> int:
        """What may still be measured."""
        return max(0, self.most - self.spent)


class Lookup:
    """The table of one device in one way of measuring.

    Args:
        meter: measures.
        identity: what it says the device is.
        budget: of this command.
        say: told what happens.
        folder: of the tables; by default in the state folder.
    """

    def __init__(
        self,
        meter: Meter,
        identity: Identity,
        budget: Budget,
        say: Say = lambda _text: None,
        folder: Path | None = None,
    ) -> None:
        self._meter, self.identity, self.budget, self._say = meter, identity, budget, say
        about = _described(identity)
        name = sha256_bytes(msgspec.json.encode(about, order="deterministic"))
        self.path = (folder or home() / "latency" / "tables") / f"{name[:24]}.json"
        self.kept = self._read(about)

    def cover(
        self,
        parts: Sequence[Part],
        least: Mapping[str, int],
        full: Mapping[str, int],
        *,
        reserve: int = 0,
        round_to: int = 8,
        points: int = POINTS,
    ) -> Predictor:
        """A predictor for every network between two; what is missing is measured.

        Args:
            parts: of the network.
            least: group -> fewest channels.
            full: group -> all channels.
            reserve: measurements to leave for networks.
            round_to: counts in between are multiples of it.
            points: of each axis; fewer where the budget has no room for them.

        Raises:
            BadInput: the budget has not even room for two points of each axis.
            DeviceUnavailable: the device was lost; what was measured is kept.
            WorkFailed: a layer cannot be measured there.
        """
        room = self.budget.left - reserve
        for each in range(points, 1, -1):
            wanted = grids(parts, least, full, points=each, round_to=round_to)
            missing = self._missing(wanted)
            if len(missing) <= room:
                break
        else:
            raise BadInput(
                f"the table needs {len(missing)} measurements of layers at least and {reserve} of networks; "
                f"--max-measurements leaves {self.budget.left}",
                where=self.identity.device,
                hint=f"--max-measurements {len(missing) + reserve + self.budget.spent}",
            )
        if each < points:
            self._say(f"the budget has room for {each} points of each axis, not {points}")
        have = len({(g, p) for grid in wanted for g, p in [(grid.geometry, p) for p in grid.points]}) + 1 - len(missing)
        self._say(
            f"look-up table of {self.identity.device}: {have} layers known, {len(missing)} to measure; "
            f"budget {self.budget.most}, {self.budget.spent} spent, {reserve} kept for networks"
        )
        self._measure_layers(missing)
        again = [(g, p) for g, p in self._all(wanted) if self.kept.layers[_key(g, p)].doubtful]
        again = [(g, p) for g, p in again if self.kept.layers[_key(g, p)].tries < 2][
            : max(0, self.budget.left - reserve)
        ]
        if again:
            self._say(f"{len(again)} of them were disturbed and are measured again")
            self._measure_layers(again, fresh=True)
        doubtful = [e for g, p in self._all(wanted) if (e := self.kept.layers[_key(g, p)]).doubtful]
        if doubtful:
            self._say(
                f"{len(doubtful)} layers stay doubtful ({_counted(e.verdict for e in doubtful)}); they are marked"
            )
        values = {
            grid.geometry: {p: self.kept.layers[_key(grid.geometry, p)].value for p in grid.points} for grid in wanted
        }
        overhead = self.kept.layers[_key(OVERHEAD, OVERHEAD_AT)].value
        return Predictor(tuple(parts), dict(full), {grid.geometry: grid for grid in wanted}, values, overhead)

    def network(
        self, what: str, name: str, file: Callable[[], Path], *, fresh: bool = False, repeats: int = 5
    ) -> Entry:
        """A whole network's number, measured unless it is known.

        Args:
            what: all that decides it: the recipe and the channels.
            name: as it is told.
            file: makes the file; called only where it must be measured.
            fresh: measure it again.

        Raises:
            Spent: the budget is.
            DeviceUnavailable: the device was lost.
            WorkFailed: it cannot be measured there.
        """
        key = sha256_bytes(what.encode())
        known = self.kept.networks.get(key)
        if known is not None and not (fresh or (known.doubtful and known.tries < 2 and self.budget.left)):
            return known
        if not self.budget.left:
            raise Spent(
                f"the budget of {self.budget.most} measurements is spent",
                where=self.identity.device,
                hint=f"--max-measurements {self.budget.most + 10}; what was measured is known",
            )
        path = file()
        counted = self.identity.metric == "instructions"
        warmup, runs, repeats = COUNTED if counted else (WARMUP, 50, NETWORK_REPEATS)
        digest = sha256_bytes(path.read_bytes())
        piece = Piece(path, digest, name, warmup, runs, repeats, checked=True)
        fresh = known is not None
        while True:
            (entry,) = self._measured([(key, what, piece)], self.kept.networks, fresh=fresh)
            if not entry.doubtful or entry.tries > 1 or not self.budget.left:
                return entry
            self._say(f"{name} is {entry.verdict}, {entry.reason}: measured again")
            fresh = True

    def _missing(self, wanted: Iterable[Grid]) -> list[tuple[Geometry, Point]]:
        return [(g, p) for g, p in self._all(wanted) if _key(g, p) not in self.kept.layers]

    @staticmethod
    def _all(wanted: Iterable[Grid]) -> list[tuple[Geometry, Point]]:
        return [(OVERHEAD, OVERHEAD_AT), *((grid.geometry, point) for grid in wanted for point in grid.points)]

    def _measure_layers(self, asked: Sequence[tuple[Geometry, Point]], *, fresh: bool = False) -> None:
        if not asked:
            return
        counted = self.identity.metric == "instructions"
        with tempfile.TemporaryDirectory(prefix="pocketzoo-layers-") as folder:
            pieces = []
            for number, (geometry, (read, made)) in enumerate(asked):
                path = Path(folder) / f"{number}.tflite"
                path.write_bytes(content := part_file(geometry, read, made))
                usual = (WARMUP, runs_of(geometry, read, made), REPEATS)
                warmup, runs, repeats = COUNTED if counted else usual
                name = f"{geometry.label}-{read}-{made}"
                piece = Piece(path, sha256_bytes(content), name, warmup, runs, repeats)
                key = _key(geometry, (read, made))
                pieces.append((key, key, piece))
            self._measured(pieces, self.kept.layers, fresh=fresh)

    def _measured(
        self, asked: Sequence[tuple[str, str, Piece]], into: dict[str, Entry], *, fresh: bool = False
    ) -> list[Entry]:
        """Measure, take the numbers into the table, write it, then raise what went wrong."""
        batch = self._meter.measure([piece for _, _, piece in asked], fresh=fresh)
        found: list[Entry] = []
        failed: list[Measurement] = []
        for key, what, piece in asked:
            m = batch.measurements.get(piece.sha256)
            if m is None:
                continue
            if piece.sha256 not in batch.known:
                self.budget.spent += 1
                self.kept.spent += 1
            number = figure(m)
            if number is None or m.verdict.name == "failed":
                failed.append(m)
                continue
            entry = _better(into.get(key) if fresh else None, _entry(what, piece, m, number))
            into[key] = entry
            found.append(entry)
        self._write()
        if batch.error is not None:
            raise self._kept_all_the_same(batch.error, len(found), len(asked))
        if failed:
            raise WorkFailed(
                f"{failed[0].model} cannot be measured on {self.identity.device}: "
                f"{failed[0].error or failed[0].verdict.reason or 'it gave no number'}",
                detail=(f"{len(failed)} of {len(asked)} failed",),
            )
        if len(found) < len(asked):
            raise WorkFailed(
                f"{self.identity.device} measured {len(found)} of {len(asked)} files", detail=batch.impossible[:5]
            )
        return found

    def _kept_all_the_same(self, error: PocketzooError, done: int, of: int) -> PocketzooError:
        error.detail = (*error.detail, f"{done} of {of} measurements are in the table {self.path}")
        error.hint = (
            f"the same command again; it goes on from the table ({error.hint})"
            if error.hint
            else ("the same command again; it goes on from the table")
        )
        return error

    def _read(self, about: dict[str, str]) -> Kept:
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return Kept(identity=about)
        try:
            found = msgspec.json.decode(raw, type=Kept)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise WorkFailed(
                f"a damaged look-up table: {error}",
                where=str(self.path),
                hint=f"rm {self.path}; what was measured is still in the results beside it",
            ) from error
        if found.schema != SCHEMA or found.identity != about:
            raise WorkFailed("a look-up table of another kind", where=str(self.path), hint=f"rm {self.path}")
        return found

    def _write(self) -> None:
        write_atomically(self.path, msgspec.json.format(msgspec.json.encode(self.kept), indent=1))


def _key(geometry: Geometry, point: Point) -> str:
    """A layer in one line: all that decides its cost, so that two keys are equal where the layers are."""
    import dataclasses

    parts = msgspec.json.encode(dataclasses.asdict(geometry), order="deterministic").decode()
    return f"{geometry.label} {point[0]} {point[1]} {parts}"


def _described(identity: Identity) -> dict[str, str]:
    return {
        "device": identity.device,
        "fingerprint": identity.fingerprint,
        "abi": identity.abi,
        "threads": str(identity.threads),
        "metric": identity.metric,
        "options": " ".join(f"{name}={value}" for name, value in identity.options),
        "runner": identity.runner,
        "runner_sha256": identity.runner_sha256,
        "provenance": identity.provenance,
    }


def _entry(what: str, piece: Piece, m: Measurement, number: tuple[float, float, float]) -> Entry:
    value, low, high = number
    return Entry(
        what=what,
        name=piece.name,
        sha256=piece.sha256,
        value=value,
        low=low,
        high=high,
        verdict=m.verdict.name,
        reason=m.verdict.reason,
        job_key=m.job_key,
        time=m.time,
    )


def _better(before: Entry | None, now: Entry) -> Entry:
    """Of two measurements the one that can be believed; of two doubtful ones the narrower."""
    if before is None:
        return now
    tries = before.tries + 1
    wide = (before.high - before.low) / max(before.value, 1e-12) < (now.high - now.low) / max(now.value, 1e-12)
    chosen = before if now.doubtful and (not before.doubtful or wide) else now
    return msgspec.structs.replace(chosen, tries=tries)


def _counted(names: Iterable[str]) -> str:
    from collections import Counter

    return ", ".join(f"{count} {name}" for name, count in sorted(Counter(names).items()))
