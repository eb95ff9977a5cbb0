"""A table on disk: what is measured, how often, within which budget, and what a lost device leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressors.search.lookup import Budget, Lookup
from compressors.search.parts import Channels, Geometry, Part
from devices.errors import ConnectionLost
from pocketzoo.errors import BadInput, DeviceUnavailable, WorkFailed
from tests.compressors.meters import IDENTITY, PretendedMeter
from zoo.measurement import VerdictName
from zoo.meter import Piece

OPTIONS = (("dilationHFactor", 1), ("dilationWFactor", 1), ("fusedActivationFunction", 3), ("padding", 0),
           ("quantizedBiasType", 0), ("strideH", 1), ("strideW", 1))  # fmt: skip
POINTWISE = Geometry(
    operator="CONV_2D", size=(4, 4), made=(4, 4), kernel=(1, 1), options=OPTIONS, options_kind="Conv2DOptions"
)
PARTS = (Part(POINTWISE, Channels(0, (("a", 1),)), Channels(0, (("b", 1),)), "layer"),)
LEAST, FULL = {"a": 8, "b": 8}, {"a": 64, "b": 64}
LAYERS = 10  # 3 x 3 points and what starting a file takes


def cost(piece: Piece) -> float:
    """Of a name such as conv-1x1s1-4x4-8-64."""
    if piece.name.startswith("relu"):
        return 0.5
    read, made = map(int, piece.name.split("-")[-2:])
    return 0.5 + read * made / 1000


def lookup(meter: PretendedMeter, most: int = 100, told: list[str] | None = None) -> Lookup:
    return Lookup(meter, IDENTITY, Budget(most), (told if told is not None else []).append)


def test_a_table_predicts_what_it_did_not_measure() -> None:
    meter = PretendedMeter(cost)
    predictor = lookup(meter).cover(PARTS, LEAST, FULL)
    assert len(meter.measured) == LAYERS
    assert predictor.sum({"a": 48, "b": 40}) == pytest.approx(0.5 + 48 * 40 / 1000)


def test_nothing_is_measured_twice_by_another_search_or_another_network() -> None:
    meter = PretendedMeter(cost)
    lookup(meter).cover(PARTS, LEAST, FULL)
    again = lookup(PretendedMeter(cost, fails_after=(0, ConnectionLost("nothing may be asked"))))
    assert again.cover(PARTS, LEAST, FULL).sum() == pytest.approx(0.5 + 64 * 64 / 1000)
    assert again.budget.spent == 0
    wider = lookup(meter)
    wider.cover(PARTS, LEAST, {"a": 64, "b": 96})
    assert sorted(set(meter.measured)) == sorted(meter.measured)


def test_another_runner_is_another_table() -> None:
    import dataclasses

    meter = PretendedMeter(cost)
    one = lookup(meter)
    other = Lookup(meter, dataclasses.replace(IDENTITY, runner_sha256="b" * 64), Budget(10))
    assert one.path != other.path


def test_a_small_budget_has_fewer_points_and_is_kept() -> None:
    meter, told = PretendedMeter(cost), list[str]()
    found = lookup(meter, most=7, told=told)
    found.cover(PARTS, LEAST, FULL, reserve=2)
    assert found.budget.spent == len(meter.measured) == 5  # 2 x 2 and what starting a file takes
    assert any("budget has room for 2 points" in line for line in told)
    assert any("5 to measure; budget 7, 0 spent, 2 kept for networks" in line for line in told)


def test_a_budget_that_cannot_do_says_what_would() -> None:
    meter = PretendedMeter(cost)
    with pytest.raises(BadInput, match="needs 5 measurements of layers at least and 2 of networks") as caught:
        lookup(meter, most=6).cover(PARTS, LEAST, FULL, reserve=2)
    assert caught.value.hint == "--max-measurements 7"
    assert meter.measured == []


def test_a_lost_device_leaves_what_it_measured_and_the_next_search_goes_on() -> None:
    meter = PretendedMeter(cost, fails_after=(4, ConnectionLost("the phone was unplugged")))
    with pytest.raises(DeviceUnavailable) as caught:
        lookup(meter).cover(PARTS, LEAST, FULL)
    assert caught.value.exit_code == 3
    assert any("4 of 10 measurements are in the table" in line for line in caught.value.detail)
    meter.fails_after = None
    going_on = lookup(meter)
    going_on.cover(PARTS, LEAST, FULL)
    assert going_on.budget.spent == LAYERS - 4
    assert sorted(set(meter.measured)) == sorted(meter.measured)


def test_a_disturbed_layer_is_measured_once_more_and_the_better_number_is_kept() -> None:
    def verdict(piece: Piece, before: int) -> VerdictName:
        return "contended" if piece.name.endswith("-8-8") and before == 0 else "valid"

    meter, told = PretendedMeter(cost, verdict), list[str]()
    found = lookup(meter, told=told)
    found.cover(PARTS, LEAST, FULL)
    twice = {name for name in meter.measured if meter.measured.count(name) == 2}
    assert twice == {"conv-1x1s1-4x4-8-8", "relu-1x1-8-8"}
    assert not any(entry.doubtful for entry in found.kept.layers.values())
    assert any("2 of them were disturbed" in line for line in told)


def test_a_layer_that_stays_disturbed_is_marked_and_not_measured_for_ever() -> None:
    meter, told = PretendedMeter(cost, lambda _piece, _before: "unstable"), list[str]()
    found = lookup(meter, told=told)
    found.cover(PARTS, LEAST, FULL)
    assert len(meter.measured) == 2 * LAYERS
    assert all(entry.verdict == "unstable" and entry.tries == 2 for entry in found.kept.layers.values())
    assert any("10 layers stay doubtful (10 unstable); they are marked" in line for line in told)
    lookup(meter).cover(PARTS, LEAST, FULL)
    assert len(meter.measured) == 2 * LAYERS


def test_measuring_again_stays_within_the_budget() -> None:
    meter = PretendedMeter(cost, lambda _piece, _before: "contended")
    found = lookup(meter, most=LAYERS + 3 + 2)
    found.cover(PARTS, LEAST, FULL, reserve=2)
    assert len(meter.measured) == LAYERS + 3
    assert found.budget.left == 2


def test_a_network_is_measured_once_and_a_spent_budget_is_told(tmp_path: Path) -> None:
    file = tmp_path / "n.tflite"
    file.write_bytes(b"network")
    meter = PretendedMeter(lambda _piece: 3.0)
    found = lookup(meter, most=1)
    assert found.network("all of it", "net", lambda: file).value == 3.0
    assert found.network("all of it", "net", lambda: pytest.fail("it is known")).value == 3.0
    with pytest.raises(BadInput, match="budget of 1 measurements is spent"):
        found.network("another", "net", lambda: file)


def test_a_layer_that_fails_is_an_error_that_names_it() -> None:
    def verdict(piece: Piece, _before: int) -> VerdictName:
        return "failed" if piece.name.endswith("-64-64") else "valid"

    with pytest.raises(WorkFailed, match="conv-1x1s1-4x4-64-64 cannot be measured on pretended"):
        lookup(PretendedMeter(cost, verdict)).cover(PARTS, LEAST, FULL)


def test_a_damaged_table_is_told(tmp_path: Path) -> None:
    first = lookup(PretendedMeter(cost))
    first.cover(PARTS, LEAST, FULL)
    first.path.write_bytes(first.path.read_bytes()[:-9])
    with pytest.raises(WorkFailed, match="damaged look-up table"):
        lookup(PretendedMeter(cost))
