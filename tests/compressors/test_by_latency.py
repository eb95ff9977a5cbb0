"""The loop between a table and a device whose layers cost more together than alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from compressors.search.by_latency import check_reachable, check_target, close_in
from compressors.search.lookup import Entry, Spent
from compressors.search.parts import Channels, Geometry, Part
from compressors.search.table import Predictor, grids
from pocketzoo.errors import BadInput

LAYER = Geometry(operator="CONV_2D", size=(8, 8), made=(8, 8), kernel=(1, 1))
NAMES = ("a", "b", "c")
FULL = dict.fromkeys(NAMES, 64)
LEAST = dict.fromkeys(NAMES, 8)
PARTS = tuple(
    Part(LAYER, Channels(0, ((one, 1),)), Channels(0, ((other, 1),)))
    for one, other in (("a", "b"), ("b", "c"), ("c", "a"))
)


def table() -> Predictor:
    (grid,) = grids(PARTS, LEAST, FULL, points=3)
    values = {point: point[0] * point[1] / 1000 for point in grid.points}
    return Predictor(PARTS, FULL, {LAYER: grid}, {LAYER: values})


def entry(value: float, verdict: str = "valid") -> Entry:
    return Entry(
        what="", name="n", sha256="0" * 64, value=value, low=value * 0.99, high=value * 1.01, verdict=verdict,
        job_key="1" * 64, time="2026-01-01",
    )  # fmt: skip


class Device:
    """A whole network takes longer than its layers, the more so the larger it is. Refuses what is no network."""

    def __init__(self, whole: Callable[[float], float], verdict: str = "valid") -> None:
        self.whole, self.verdict = whole, verdict
        self.measured: list[dict[str, int]] = []

    def __call__(self, counts: Mapping[str, int]) -> Entry:
        assert set(counts) == set(NAMES)
        assert all(8 <= count <= 64 for count in counts.values())
        self.measured.append(dict(counts))
        return entry(self.whole(table().sum(counts)), self.verdict)


def even(cost: Predictor, target: float) -> dict[str, int]:
    return min((dict.fromkeys(NAMES, n) for n in range(8, 65)), key=lambda counts: abs(cost(counts) - target))


def cache(total: float) -> float:
    """Of a device that slows down when weights no longer fit."""
    return 1.1 * total + (0.08 * (total - 4) ** 2 if total > 4 else 0)


@pytest.mark.parametrize("share", [0.2, 0.35, 0.5, 0.7, 0.9])
def test_the_loop_ends_at_a_network_that_was_measured_at_the_target(share: float) -> None:
    device = Device(cache)
    base = device(FULL)
    target = base.value * share
    ended = close_in(even, device, table(), target, [(table().sum(), base.value)])
    assert ended.outcome == "reached"
    assert abs(ended.best.measured.value / target - 1) <= 0.05
    assert len(device.measured) <= 6


def test_the_uncorrected_table_alone_would_have_missed() -> None:
    device = Device(cache)
    target = device(FULL).value * 0.5
    (first, *later) = close_in(even, device, table(), target, [(table().sum(), device(FULL).value)]).rounds
    assert abs(first.off) > 0.05
    assert later


def test_a_device_that_cannot_be_predicted_is_missed_and_said_to_be() -> None:
    jumps = Device(lambda total: 2.0 if total < 6 else 12.0)
    told: list[str] = []
    base = jumps(FULL)
    ended = close_in(even, jumps, table(), 6.0, [(table().sum(), base.value)], rounds=4, say=told.append)
    assert ended.outcome == "missed"
    assert "more than 5%" in ended.says
    assert len(jumps.measured) <= 1 + 4


def test_no_network_is_measured_twice() -> None:
    stuck = Device(lambda total: 3 * total)
    told: list[str] = []
    same = {"a": 16, "b": 16, "c": 16}
    ended = close_in(lambda _cost, _target: same, stuck, table(), 9.0, [(1.0, 1.0)], say=told.append)
    assert stuck.measured == [same]
    assert ended.outcome == "missed"
    assert any("was measured already" in line for line in told)


def test_a_disturbed_measurement_at_the_target_is_not_held_to() -> None:
    device = Device(lambda total: total, verdict="contended")
    ended = close_in(even, device, table(), 5.0, [(table().sum(), table().sum())])
    assert ended.outcome == "cannot tell"
    assert "contended" in ended.says


def test_a_spent_budget_ends_the_loop_with_what_was_measured() -> None:
    device = Device(cache)
    base = device(FULL)
    told: list[str] = []

    def measure(counts: Mapping[str, int]) -> Entry:
        if len(device.measured) > 1:
            raise Spent("the budget of 2 measurements is spent")
        return device(counts)

    ended = close_in(even, measure, table(), base.value * 0.5, [(table().sum(), base.value)], say=told.append)
    assert len(ended.rounds) == 1
    assert any("budget of 2 measurements is spent" in line for line in told)
    with pytest.raises(Spent):
        close_in(even, measure, table(), base.value * 0.5, [(table().sum(), base.value)])


@pytest.mark.parametrize(("target", "says"), [(0, "above 0"), (-3, "above 0"), (float("nan"), "above 0")])
def test_targets_that_are_none(target: float, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        check_target(target, entry(10), "ms")


def test_a_target_the_network_meets_already() -> None:
    with pytest.raises(BadInput, match="takes 10 ms already"):
        check_target(10.5, entry(10), "ms")


def test_a_target_below_what_is_reachable_says_what_is() -> None:
    with pytest.raises(BadInput, match=r"predicted to take 0\.192 ms of 12\.29 ms"):
        check_reachable(0.1, table(), LEAST, "ms")
    check_reachable(0.2, table(), LEAST, "ms")
