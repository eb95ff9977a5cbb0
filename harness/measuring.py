"""Measure the cells of one device: each repeat a process of its own, stored as soon as it ends."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from devices.errors import DeadlineExceeded, OutputTooLarge
from devices.facts import Conditions, DeviceFacts
from harness import instructions
from harness.cooling import Cooled, wait_until_cool
from harness.during import busy_before, with_clocks
from harness.execute import Bench, repeat_deadline_s
from harness.finish import Ended, finished
from harness.job import Cell
from harness.outputs import Outputs, reported
from harness.progress import Progress
from harness.reference import Kept
from harness.results import Round
from harness.runner import RunnerFailed
from harness.schedule import Known, Task, block, enough, half_width, judge_known, repeats_left
from zoo.measurement import Evidence, Measurement, Repeat, RunnerRecord
from zoo.stats import summarise


class Rounds(Protocol):
    """What measuring needs of the results: see :class:`harness.results.Results`."""

    def find_each(self, job_keys: Sequence[str]) -> Mapping[str, Measurement]:
        """The newest finished measurement of each job key that has one."""

    def begin_each(
        self, wanted: Sequence[tuple[Cell, RunnerRecord]], facts: DeviceFacts, *, fresh: bool = False
    ) -> list[Round]:
        """The round to work on of each cell."""

    def append(self, round_: Round, number: int, repeat: Repeat) -> None:
        """Store one repeat; it is on disk when this returns."""

    def finish(self, round_: Round, measurement: Measurement) -> None:
        """End a round."""


@dataclass(frozen=True)
class Settings:
    """How a campaign measures.

    Args:
        since: when it began (UTC, ISO 8601 with milliseconds); what is newer was measured in it.
        seed: of the order of repeats.
        retry: further rounds for a cell that is not valid.
        fresh: measure again what was measured before the campaign began.
        deadline_s: for one repeat; :func:`harness.execute.repeat_deadline_s` where it is not given.
        failed: job keys whose cells failed in this campaign and are not tried again.
    """

    since: str
    seed: int = 0
    retry: int = 1
    fresh: bool = False
    deadline_s: float | None = None
    failed: Collection[str] = ()


@dataclass
class Outcome:
    """What a device gave: cells that ended (now or before), which were reused, repeats stored and still missing."""

    measurements: list[Measurement] = field(default_factory=list)
    reused: set[str] = field(default_factory=set)
    planned: int = 0
    stored: int = 0


@dataclass
class _Open:
    """A round that is being measured."""

    task: Task
    round: Round
    rounds: int = 0
    why: str = ""
    waited_s: float = 0.0
    measurement: Measurement | None = None

    @property
    def ended(self) -> bool:
        """Whether it has been judged."""
        return self.measurement is not None

    @property
    def missing(self) -> int:
        """The number of the next repeat."""
        return next(n for n in range(len(self.round.done) + 1) if n not in self.round.done)


# The host computes references and intervals, and may be measured itself: one at a time.
MACHINE = threading.RLock()


class Device:
    """The measuring of one device's tasks. Used by one thread.

    Args:
        bench: the device.
        models: artifact SHA-256 -> file on this machine.
        results: where each repeat is stored when it ends.
        kept: outputs of host and devices.
        settings: of the campaign.
        progress: told of every repeat.
        stop: when set, no further repeat begins.
        outcome: filled in as it goes, so that it tells what is stored also when this breaks off.
    """

    def __init__(
        self,
        bench: Bench,
        models: Mapping[str, Path],
        results: Rounds,
        kept: Kept,
        settings: Settings,
        *,
        progress: Progress,
        stop: threading.Event,
        outcome: Outcome,
    ) -> None:
        self._bench = bench
        self._models = models
        self._results = results
        self._kept = kept
        self._settings = settings
        self._progress = progress
        self._stop = stop
        self._outcome = outcome
        self._busy: Evidence | None = None
        self._last: Conditions | None = None
        self._placed: dict[str, str] = {}

    def measure(self, tasks: Sequence[Task]) -> None:
        """Measure what is not measured yet, block after block.

        Args:
            tasks: cells of this device; of two with one key the first counts.

        Raises:
            KeyboardInterrupt: it was stopped; what was measured is stored.
            DeviceError: the device was lost; what was measured is stored.
        """
        unique: dict[str, Task] = {}
        for task in tasks:
            unique.setdefault(task.cell.key, task)
        live = self._open(list(unique.values()))
        self._tell(live)
        try:
            for one in live:
                self._end_if_enough(one)
            live = self._next(live)
            if live:
                digests = {one.task.cell.artifact_sha256 for one in live}
                self._placed = self._bench.session.push({digest: self._models[digest] for digest in digests})
                self._busy = busy_before(
                    self._bench.session, self._bench.opened, self._stop.wait, here=self._bench.here
                )
            number = 0
            while live:
                by_key = {one.task.cell.key: one for one in live}
                for task in block([one.task for one in live], seed=self._settings.seed, number=number):
                    if self._stop.is_set():
                        raise KeyboardInterrupt
                    self._repeat(by_key[task.cell.key])
                number += 1
                live = self._next(live)
        finally:
            self._progress.end()

    def _open(self, tasks: Sequence[Task]) -> list[_Open]:
        """Rounds to work on, of the cells that have not what is asked for."""
        settings, wanted = self._settings, []
        found = self._results.find_each([task.cell.key for task in tasks])
        for task in tasks:
            known, then = found.get(task.cell.key), Known(False)
            if known is not None:
                then = judge_known(known, task, retry=settings.retry, fresh=settings.fresh, since=settings.since)
            if known is not None and then.reuse:
                self._outcome.measurements.append(known)
                if known.time < settings.since:
                    self._outcome.reused.add(task.cell.key)
            elif task.cell.key not in settings.failed:
                wanted.append((task, then))
        return self._begin(wanted)

    def _begin(self, wanted: Sequence[tuple[Task, Known]]) -> list[_Open]:
        """A round of each task; what is known of it says how many there were."""
        if not wanted:
            return []
        facts = self._bench.facts
        asked = [(task.cell, self._bench.runner_of(task.cell).record) for task, _ in wanted]
        rounds = self._results.begin_each(asked, facts)
        if self._settings.fresh:
            older = [number for number, round_ in enumerate(rounds) if self._older(round_)]
            anew = self._results.begin_each([asked[number] for number in older], facts, fresh=True) if older else []
            rounds = [dict(zip(older, anew, strict=True)).get(number, old) for number, old in enumerate(rounds)]
        return [_Open(task, round_, then.rounds, then.why) for (task, then), round_ in zip(wanted, rounds, strict=True)]

    def _older(self, round_: Round) -> bool:
        return any((repeat.started or "") < self._settings.since for repeat in round_.done.values())

    def _next(self, live: Sequence[_Open]) -> list[_Open]:
        """What goes into the next block: rounds that are not over, and further rounds of cells that are not valid."""
        going = [one for one in live if not one.ended]
        again = []
        for one in live:
            last = one.measurement
            if last is None or last.verdict.name == "failed":
                continue
            then = judge_known(last, one.task, retry=self._settings.retry, fresh=False, since=self._settings.since)
            if not then.reuse:
                self._outcome.measurements.remove(last)
                again.append((one.task, then))
        going += self._begin(again)
        self._tell(going)
        return going

    def _tell(self, live: Sequence[_Open]) -> None:
        left = repeats_left([one.task for one in live], {one.task.cell.key: len(one.round.done) for one in live})
        self._outcome.planned = self._outcome.stored + left
        self._progress.begin(self._outcome.planned, self._bench.facts.name)

    def _repeat(self, one: _Open) -> None:
        task, cell = one.task, one.task.cell
        number = one.missing
        of = cell.protocol.repeats if task.until is None else f"at most {task.cap}"
        again = f" (round {one.rounds + 1})" if one.rounds else ""
        self._progress.step(f"{cell.label}: repeat {number + 1} of {of}{again}")
        try:
            repeat, outputs = self._run(one)
        except (RunnerFailed, DeadlineExceeded, OutputTooLarge) as error:
            # This cell cannot be measured; the others can.
            self._end(one, error=" / ".join((error.what, *error.detail)))
            return
        if outputs is not None:
            self._kept.put(outputs)
        self._results.append(one.round, number, repeat)
        one.round.done[number] = repeat
        self._outcome.stored += 1
        self._end_if_enough(one)

    def _run(self, one: _Open) -> tuple[Repeat, Outputs | None]:
        bench, cell = self._bench, one.task.cell
        runner = bench.runner_of(cell)
        argv = runner.argv(cell, self._placed[cell.artifact_sha256], bench.prepared.placed)
        usual_s = repeat_deadline_s if cell.metric == "latency" else instructions.repeat_deadline_s
        limit = self._settings.deadline_s or usual_s(cell.protocol)
        cooled = self._cool(one.task)
        one.waited_s += cooled.waited_s
        started = datetime.now(UTC).isoformat(timespec="milliseconds")
        with MACHINE if bench.here else contextlib.nullcontext():
            done = bench.session.run(argv, deadline_s=limit)
        after = self._last = bench.session.conditions()
        repeat = runner.parse(cell, done)
        repeat = msgspec.structs.replace(repeat, started=started, before=cooled.conditions, after=after)
        return with_clocks(repeat, done), reported(done)

    def _conditions(self) -> Conditions:
        """The device as it is; what was read after the last repeat, where nothing has run since."""
        last, self._last = self._last, None
        return last or self._bench.session.conditions()

    def _cool(self, task: Task) -> Cooled:
        cooled = wait_until_cool(
            self._conditions,
            below_c=task.cool_below_c,
            limit_s=task.cool_limit_s,
            told=self._progress.cooling,
            stop=self._stop,
        )
        if self._stop.is_set():
            raise KeyboardInterrupt
        return cooled

    def _end_if_enough(self, one: _Open) -> None:
        done = one.round.done
        if len(done) < one.task.cell.protocol.repeats:
            return
        if one.task.until is None or len(done) >= one.task.cap:
            self._end(one)
            return
        self._last = None
        with MACHINE:
            summary = summarise([done[number] for number in sorted(done)])
        if enough(one.task, len(done), half_width(summary)):
            self._end(one)
        else:
            self._progress.begin(self._outcome.planned + 1, self._bench.facts.name)
            self._outcome.planned += 1

    def _end(self, one: _Open, *, error: str | None = None) -> None:
        """Summary, output check and verdict of a round, stored."""
        cell = one.task.cell
        self._last = None
        ended = Ended(
            task=one.task,
            repeats=tuple(one.round.done[number] for number in sorted(one.round.done)),
            busy=self._busy,
            waited_s=one.waited_s,
            rounds=one.rounds,
            why=one.why,
            error=error,
        )
        with MACHINE:
            measurement = finished(self._bench, ended, self._kept, self._host(cell))
        self._results.finish(one.round, measurement)
        self._outcome.measurements.append(measurement)
        one.measurement = measurement

    def _host(self, cell: Cell) -> Callable[[], Outputs | str]:
        return lambda: self._kept.host(self._models[cell.artifact_sha256], cell.artifact_sha256, cell.seed)
