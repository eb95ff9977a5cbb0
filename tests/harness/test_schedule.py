"""The order of repeats, when a cell has enough or is measured again, waiting until cool, the time it will take."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.facts import Conditions
from harness.cooling import LIMIT_S, POLL_S, hottest, wait_until_cool
from harness.estimate import duration, estimate
from harness.job import Protocol
from harness.schedule import Task, block, enough, judge_known
from tests.harness.cells import cell_of
from tests.records import FACTS, measurement_for, repeat_of
from zoo.artifact import Artifact, FileRecord
from zoo.measurement import Measurement, VerdictName

ARTIFACT = Artifact(
    name="tiny-model", format="tflite", files=(FileRecord(name="tiny-model.tflite", sha256="c" * 64, size=1),)
)
TASK = Task(cell_of(protocol=Protocol(warmup=1, runs=3, repeats=3)))
BEGAN = "2026-11-21T10:00:00.000+00:00"


@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(0, 5))
def test_a_block_holds_each_cell_once_in_an_order_that_the_seed_decides(seed: int, count: int, number: int) -> None:
    tasks = [Task(cell_of(threads=n + 1)) for n in range(count)]
    order = block(tasks, seed=seed, number=number)
    assert Counter(task.cell.key for task in order) == Counter(task.cell.key for task in tasks)
    assert order == block(list(reversed(tasks)), seed=seed, number=number)


def test_blocks_of_one_seed_differ() -> None:
    tasks = [Task(cell_of(threads=n + 1)) for n in range(8)]
    assert len({tuple(task.cell.threads for task in block(tasks, seed=0, number=n)) for n in range(5)}) > 1


@pytest.mark.parametrize(
    ("until", "most", "repeats", "width", "answer"),
    [
        (None, 20, 2, 0.5, False),
        (None, 20, 3, 0.5, True),
        (0.01, 20, 2, 0.001, False),
        (0.01, 20, 3, 0.02, False),
        (0.01, 20, 3, 0.01, True),
        (0.01, 20, 3, None, False),
        (0.01, 5, 5, 0.02, True),
        (0.01, 2, 3, 0.02, True),  # the cap never takes away from the protocol's repeats
    ],
)
def test_enough(until: float | None, most: int, repeats: int, width: float | None, answer: bool) -> None:
    assert enough(Task(TASK.cell, until=until, most=most), repeats, width) is answer


def known(verdict: VerdictName, time: str = BEGAN) -> Measurement:
    return msgspec.structs.replace(measurement_for(ARTIFACT, verdict=verdict), time=time)


@pytest.mark.parametrize("verdict", ["valid", "clamped", "emulated"])
def test_what_would_come_out_the_same_is_reused(verdict: VerdictName) -> None:
    assert judge_known(known(verdict), TASK, retry=1, fresh=False, since=BEGAN).reuse
    assert judge_known(known(verdict), TASK, retry=1, fresh=True, since=BEGAN).reuse
    assert not judge_known(known(verdict), TASK, retry=1, fresh=True, since="2026-11-21T10:00:00.001+00:00").reuse


@pytest.mark.parametrize("verdict", ["throttled", "contended", "unstable"])
def test_what_may_be_better_the_next_time_is_measured_again(verdict: VerdictName) -> None:
    found = judge_known(known(verdict), TASK, retry=1, fresh=False, since=BEGAN)
    assert (found.reuse, found.rounds) == (False, 1)
    assert judge_known(known(verdict), TASK, retry=0, fresh=False, since=BEGAN).reuse


class Clock:
    """A device that cools, and the clock it cools by."""

    def __init__(self, *celsius: float) -> None:
        self.now = 0.0
        self.looks = 0
        self._celsius = celsius

    def look(self) -> Conditions:
        at = self._celsius[min(self.looks, len(self._celsius) - 1)]
        self.looks += 1
        self.now += POLL_S
        return Conditions(time="t", temperatures_c={"cpu": at, "skin": at - 3})

    def __call__(self) -> float:
        return self.now


class Still:
    """An event that is waited for without waiting."""

    def wait(self, _seconds: float) -> bool:
        return False

    def is_set(self) -> bool:
        return False


def test_cool_or_not_asked_for_is_one_look() -> None:
    for below in (35.0, None):
        clock = Clock(34.0)
        cooled = wait_until_cool(clock.look, below_c=below, clock=clock)
        assert (clock.looks, cooled.cool) == (1, True)
    bare = Conditions(time="t")
    assert wait_until_cool(lambda: bare, below_c=35.0).cool
    assert hottest(bare) is None


def test_waiting_ends_at_the_temperature_or_at_the_limit() -> None:
    clock = Clock(50.0, 44.0, 35.0, 34.9)
    cooled = wait_until_cool(clock.look, below_c=35.0, clock=clock, stop=Still())  # type: ignore[arg-type]
    assert (clock.looks, cooled.cool, cooled.waited_s) == (4, True, 4 * POLL_S)
    clock = Clock(50.0)
    cooled = wait_until_cool(clock.look, below_c=35.0, clock=clock, stop=Still())  # type: ignore[arg-type]
    assert not cooled.cool
    assert LIMIT_S <= cooled.waited_s < LIMIT_S + 2 * POLL_S


def test_the_battery_is_a_zone_too() -> None:
    assert hottest(Conditions(time="t", temperatures_c={"cpu": 30.0}, battery_c=41.0)) == 41.0


def test_the_time_is_told_from_earlier_results_with_what_a_process_costs() -> None:
    def conditions(second: int) -> Conditions:
        return Conditions(time=f"2026-11-21T10:00:{second:02}.000+00:00")

    repeat = repeat_of([10_000_000] * 3, before=conditions(0), after=conditions(3), wall_ns=1_000_000_000)
    earlier = msgspec.structs.replace(measurement_for(ARTIFACT, median_ms=10.0), repeats=(repeat,) * 3)
    cell = cell_of(
        artifact_sha256=ARTIFACT.digest,
        device_fingerprint=FACTS.fingerprint,
        threads=2,
        protocol=Protocol(warmup=100, runs=200, repeats=3),
    )
    told = estimate([cell, cell_of(artifact_sha256="9" * 64)], [earlier])
    assert told.unknown == 1
    assert told.seconds == pytest.approx(3 * (2.0 + 300 * 0.010))
    assert estimate([cell], []).unknown == 1
    assert [duration(seconds) for seconds in (3, 600, 9000)] == ["3 s", "10 min", "2.5 h"]
