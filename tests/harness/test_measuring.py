"""One device's work: until, rounds, cooling, failures, loss, and going on after each of them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from devices.errors import DeviceOffline
from harness import cooling
from harness.measuring import Outcome
from harness.schedule import Task, earlier_rounds
from tests.harness.simulated import SimulatedSession, Simulation, steady


def simulation(folder: Path, **device: Any) -> Simulation:
    return Simulation(folder, SimulatedSession(**{"answer": steady, **device}))


def test_every_cell_gets_its_repeats_and_is_reused(tmp_path: Path) -> None:
    world = simulation(tmp_path)
    tasks = [world.task(threads=count) for count in (1, 2)]
    outcome = world.measure(*tasks)
    assert len(world.session.commands) == outcome.stored == outcome.planned == 6
    assert [len(m.repeats) for m in outcome.measurements] == [3, 3]
    # One block holds every cell once.
    keys = [argv[2] for argv in world.session.commands]
    assert all(len(set(keys[at : at + 2])) == 2 for at in (0, 2, 4))
    again = world.measure(*tasks)
    assert len(world.session.commands) == 6
    assert again.reused == {task.cell.key for task in tasks}


def test_until_goes_on_for_the_wide_cell_alone(tmp_path: Path) -> None:
    def answer(argv: list[str], number: int) -> dict[str, Any]:
        wide = argv[3] == "2"
        level = 1_000_000 + (40_000 * (number % 5) if wide else 0)
        return {**steady(argv, number), "samples_ns": [level] * 9}

    world = simulation(tmp_path, answer=answer)
    narrow, wide = world.task(threads=1, until=0.01), world.task(threads=2, until=0.01, most=7)
    outcome = world.measure(narrow, wide, retry=0)
    found = {m.threads_requested: m for m in outcome.measurements}
    assert len(found[1].repeats) == 3
    assert len(found[2].repeats) == 7
    told = next(item for item in found[2].verdict.evidence if item.check == "until")
    assert told.outcome == "exceeded"
    assert "±1.0% was asked for" in told.says


def test_a_narrower_interval_than_was_measured_is_measured_anew(tmp_path: Path) -> None:
    def answer(argv: list[str], number: int) -> dict[str, Any]:
        return {**steady(argv, number), "samples_ns": [1_000_000 + 4_000 * (number % 4)] * 9}

    world = simulation(tmp_path, answer=answer)
    assert world.measure(world.task()).measurements[0].verdict.name == "valid"
    outcome = world.measure(world.task(until=0.0001, most=5))
    assert len(outcome.measurements[0].repeats) == 5
    assert not outcome.reused


def contended(argv: list[str], number: int) -> dict[str, Any]:
    return {**steady(argv, number), "foreign_cpu_share": 0.5}


def test_a_cell_that_is_not_valid_is_measured_once_more_and_both_rounds_are_kept(tmp_path: Path) -> None:
    world = simulation(tmp_path, answer=lambda argv, n: contended(argv, n) if n < 3 else steady(argv, n))
    (measurement,) = world.measure(world.task()).measurements
    assert measurement.verdict.name == "valid"
    assert len(world.session.commands) == 6
    assert earlier_rounds(measurement) == 1
    told = next(item for item in measurement.verdict.evidence if item.check == "earlier rounds")
    assert "before it was contended: others used 50.0%" in told.says


def test_rounds_end_and_a_new_request_may_have_another(tmp_path: Path) -> None:
    world = simulation(tmp_path, answer=contended)
    outcome = world.measure(world.task())
    assert [m.verdict.name for m in outcome.measurements] == ["contended"]
    assert len(world.session.commands) == 6
    assert world.measure(world.task(), retry=0).reused
    assert len(world.session.commands) == 6
    world.measure(world.task())
    assert len(world.session.commands) == 9


def test_a_campaign_taken_up_again_has_no_more_rounds_than_one_that_ran_through(tmp_path: Path) -> None:
    since = "2020-01-01T00:00:00.000+00:00"
    world = simulation(tmp_path, answer=contended)
    world.measure(world.task(), since=since)
    outcome = world.measure(world.task(), since=since)
    assert len(world.session.commands) == 6
    assert not outcome.reused


def test_fresh_measures_again_once_also_when_it_is_taken_up_again(tmp_path: Path) -> None:
    world = simulation(tmp_path)
    world.measure(world.task())
    lost = Lost(world, after=1)
    with pytest.raises(DeviceOffline):
        world.measure(world.task(), fresh=True, since=lost.since)
    lost.mend()
    (measurement,) = world.measure(world.task(), fresh=True, since=lost.since).measurements
    assert len(measurement.repeats) == 3
    assert len(world.session.commands) == 3 + 1 + 1 + 2  # one was lost with the device
    assert world.measure(world.task(), fresh=True, since=lost.since).stored == 0


class Lost:
    """The device goes away in the middle of a command."""

    def __init__(self, world: Simulation, *, after: int) -> None:
        from datetime import UTC, datetime

        self.since = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._world, self._answer = world, world.session._answer
        started = len(world.session.commands)

        def answer(argv: list[str], number: int) -> dict[str, Any]:
            if number >= started + after:
                raise DeviceOffline("gone", device="simulated")
            return self._answer(argv, number)

        world.session._answer = answer

    def mend(self) -> None:
        self._world.session._answer = self._answer


def test_after_a_loss_exactly_what_is_missing_is_measured(tmp_path: Path) -> None:
    world = simulation(tmp_path)
    tasks = [world.task(threads=count) for count in (1, 2)]
    lost, outcome = Lost(world, after=4), Outcome()
    with pytest.raises(DeviceOffline):
        world.measure(*tasks, since=lost.since, outcome=outcome)
    assert (outcome.stored, outcome.planned) == (4, 6)
    lost.mend()
    outcome = world.measure(*tasks, since=lost.since)
    assert outcome.stored == 2
    assert sorted(len(m.repeats) for m in outcome.measurements) == [3, 3]
    assert world.measure(*tasks, since=lost.since).stored == 0


def test_a_cell_that_fails_stops_no_other_and_is_stored_with_its_reason(tmp_path: Path) -> None:
    def answer(argv: list[str], number: int) -> dict[str, Any]:
        return {"error": "no such operator"} if argv[3] == "2" else steady(argv, number)

    world = simulation(tmp_path, answer=answer)
    tasks = [world.task(threads=count) for count in (1, 2)]
    outcome = world.measure(*tasks)
    assert {m.threads_requested: m.verdict.name for m in outcome.measurements} == {1: "valid", 2: "failed"}
    failed = next(m for m in world.results.latest() if m.verdict.name == "failed")
    assert failed.error == "no such operator"
    before = len(world.session.commands)
    world.measure(*tasks, failed={tasks[1].cell.key})
    assert len(world.session.commands) == before


def test_it_waits_until_cool_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooling, "POLL_S", 0.02)
    told: list[tuple[float, float]] = []

    class Watching:
        def begin(self, steps: int, text: str) -> None: ...

        def step(self, text: str) -> None: ...

        def cooling(self, now: float, target: float) -> None:
            told.append((now, target))

        def end(self) -> None: ...

    world = simulation(tmp_path, temperatures=[40.0, 34.0])
    task = world.task(repeats=1, cool_below_c=35.0)
    (measurement,) = world.measure(task, progress=Watching()).measurements
    assert told == [(40.0, 35.0)]
    waited = next(item for item in measurement.verdict.evidence if item.check == "cooling")
    assert waited.value is not None and waited.value > 0
    assert measurement.repeats[0].before is not None
    assert measurement.repeats[0].before.temperatures_c == {"cpu": 34.0}


def test_a_device_that_does_not_cool_is_measured_with_evidence(tmp_path: Path) -> None:
    world = simulation(tmp_path, temperatures=[50.0])
    (measurement,) = world.measure(world.task(cool_below_c=35.0, cool_limit_s=0.0)).measurements
    warm = next(item for item in measurement.verdict.evidence if item.check == "warm start")
    assert (warm.outcome, warm.value) == ("exceeded", 50.0)


def test_a_cool_device_costs_one_look_between_repeats(tmp_path: Path) -> None:
    world = simulation(tmp_path, temperatures=[30.0])
    world.measure(world.task(cool_below_c=35.0))
    # Before and after each of three; what was read after one is what the next begins with, where nothing ran between.
    assert world.session.looks == 4


def test_when_stopped_nothing_more_begins(tmp_path: Path) -> None:
    stop = threading.Event()

    def answer(argv: list[str], number: int) -> dict[str, Any]:
        if number == 1:
            stop.set()
        return steady(argv, number)

    world, outcome = simulation(tmp_path, answer=answer), Outcome()
    with pytest.raises(KeyboardInterrupt):
        world.measure(world.task(), stop=stop, outcome=outcome)
    assert outcome.stored == 2


def test_the_second_of_two_equal_tasks_is_dropped(tmp_path: Path) -> None:
    world = simulation(tmp_path)
    one = world.task()
    assert world.measure(one, Task(one.cell, until=0.001)).stored == 3
