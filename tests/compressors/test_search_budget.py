"""Counts within a budget, ratios out of curves, candidates that are evaluated once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.progress import Silent
from compressors.search import sensitivity
from compressors.search.budget import Budget, choices
from compressors.search.evaluations import Remembered
from compressors.search.sensitivity import Curve, Sensitivity, iterative_targets, solve
from pocketzoo.errors import BadInput, WorkFailed


def chain_cost(counts: Mapping[str, int]) -> float:
    """MACs of a chain of 1x1 convolutions whose first input has 3 channels and whose last output 10."""
    sides = [3, *counts.values(), 10]
    return float(sum(before * after for before, after in pairwise(sides)))


def chain(channels: list[int], lowest: float = 0.1, round_to: int = 1) -> dict[str, tuple[int, ...]]:
    return {f"layer{number}": choices(count, lowest, round_to) for number, count in enumerate(channels)}


@given(st.integers(1, 300), st.floats(0, 1), st.sampled_from([1, 2, 4, 8, 16]))
def test_choices_are_multiples_or_everything(channels: int, lowest: float, round_to: int) -> None:
    found = choices(channels, lowest, round_to)
    assert found[-1] == channels
    assert list(found) == sorted(set(found))
    assert all(count % round_to == 0 and count >= lowest * channels - 1e-9 for count in found[:-1])
    assert found[0] >= 1


@given(st.lists(st.integers(40, 200), min_size=2, max_size=6), st.floats(0.15, 0.9), st.data())
def test_a_settled_budget_is_used_and_not_exceeded(channels: list[int], share: float, data: st.DataObject) -> None:
    options = chain(channels)
    whole = chain_cost({group: counts[-1] for group, counts in options.items()})
    budget = Budget(chain_cost, share * whole, options)
    start = {group: data.draw(st.sampled_from(counts)) for group, counts in options.items()}
    found = budget.settle(start)
    assert abs(budget.cost(found) - budget.target) <= 0.01 * whole
    assert all(found[group] in counts for group, counts in options.items())


def test_a_settled_budget_keeps_what_already_fits() -> None:
    options = chain([100, 100])
    budget = Budget(chain_cost, chain_cost({"layer0": 60, "layer1": 70}), options)
    assert budget.settle({"layer0": 60, "layer1": 70}) == {"layer0": 60, "layer1": 70}


@pytest.mark.parametrize("target", [0.0, -5.0, 1.0, 2.0])
def test_targets_that_are_none(target: float) -> None:
    options = chain([50, 50])
    whole = chain_cost({"layer0": 50, "layer1": 50})
    with pytest.raises(BadInput, match="more than 0 and less than 100 %"):
        Budget(chain_cost, target * whole, options).check()


def test_an_unreachable_target_says_what_is_reachable() -> None:
    options = chain([50, 50], lowest=0.5)
    whole = chain_cost({"layer0": 50, "layer1": 50})
    with pytest.raises(BadInput, match=r"leaves 10\.0% of the whole cost; at least 30\.2% stay") as caught:
        Budget(chain_cost, 0.1 * whole, options).check()
    assert "at most 69.8 % removed" in str(caught.value.hint)


def test_nothing_to_prune() -> None:
    with pytest.raises(BadInput, match="nothing may be pruned"):
        Budget(chain_cost, 10, {"layer0": (8,)}).check()


def test_a_target_that_the_rounding_cannot_meet() -> None:
    options = chain([16, 16], round_to=8)
    with pytest.raises(BadInput, match="cannot be met within 1% of the whole cost: the nearest below it costs"):
        Budget(chain_cost, 300, options).settle({"layer0": 16, "layer1": 16})


@given(st.floats(0, 1), st.integers(1, 120))
def test_the_largest_count_that_fits_does_fit(share: float, other: int) -> None:
    budget = Budget(chain_cost, share * 20000, chain([120, 120]))
    most = budget.most("layer0", {"layer0": 1, "layer1": other})
    options = budget.options["layer0"]
    fitting = [count for count in options if chain_cost({"layer0": count, "layer1": other}) <= budget.target]
    assert most == (fitting[-1] if fitting else options[0])


def test_a_cost_that_falls_in_places_is_not_exceeded() -> None:
    def steps(counts: Mapping[str, int]) -> float:  # what a device does: 9 channels cost more than 16
        return float({8: 1, 9: 3}.get(counts["a"], 2 if counts["a"] <= 16 else 5))

    budget = Budget(steps, 2.0, {"a": (8, 9, 16, 17, 24)})
    assert steps({"a": budget.most("a", {})}) <= 2.0


def curves(shapes: Mapping[str, tuple[float, ...]]) -> Sensitivity:
    return Sensitivity(
        0.9,
        tuple(Curve(name, sensitivity.RATIOS, tuple(0.9 - loss for loss in losses)) for name, losses in shapes.items()),
    )


STEEP = tuple(0.8 * ratio**2 for ratio in sensitivity.RATIOS)
FLAT = tuple(0.05 * ratio**2 for ratio in sensitivity.RATIOS)


@pytest.mark.parametrize("solver", ["fitted", "interpolated"])
def test_the_sensitive_layer_keeps_more(solver: sensitivity.Solver) -> None:
    options = chain([200, 200])
    whole = chain_cost({"layer0": 200, "layer1": 200})
    found = solve(curves({"layer0": STEEP, "layer1": FLAT}), Budget(chain_cost, 0.5 * whole, options), solver)
    assert found["layer0"] > found["layer1"] + 40
    assert abs(chain_cost(found) - 0.5 * whole) <= 0.01 * whole


def test_equal_losses_are_what_the_solver_equalises() -> None:
    """Both curves are parabolas, so the ratios at one loss are as 1 to sqrt(16)."""
    found = curves({"layer0": STEEP, "layer1": FLAT})
    for solver in ("fitted", "interpolated"):
        steep, flat = (sensitivity._ratio_at(curve, 0.9, solver) for curve in found.curves)
        scale = 0.9 if solver == "interpolated" else 1.0
        assert flat(0.02 / scale) / steep(0.02 / scale) == pytest.approx(4, rel=0.08)


@pytest.mark.parametrize("solver", ["fitted", "interpolated"])
def test_ratios_never_go_beyond_what_was_measured(solver: sensitivity.Solver) -> None:
    options = chain([200, 200], lowest=0.0)
    whole = chain_cost({"layer0": 200, "layer1": 200})
    with pytest.raises(BadInput, match="every group is pruned as far as it was measured"):
        solve(curves({"layer0": FLAT, "layer1": FLAT}), Budget(chain_cost, 0.005 * whole, options), solver)


@given(
    st.lists(st.lists(st.floats(0, 0.9), min_size=9, max_size=9), min_size=2, max_size=4),
    st.floats(0.2, 0.9),
    st.sampled_from(["fitted", "interpolated"]),
)
def test_any_curves_give_the_target_or_say_why_not(
    accuracies: list[list[float]], share: float, solver: sensitivity.Solver
) -> None:
    options = chain([150] * len(accuracies))
    whole = chain_cost({group: counts[-1] for group, counts in options.items()})
    found = Sensitivity(
        0.9, tuple(Curve(f"layer{n}", sensitivity.RATIOS, tuple(row)) for n, row in enumerate(accuracies))
    )
    budget = Budget(chain_cost, share * whole, options)
    try:
        counts = solve(found, budget, solver)
    except BadInput as error:
        assert "as far as it was measured" in error.what
        return
    assert abs(chain_cost(counts) - share * whole) <= 0.01 * whole


@given(st.lists(st.floats(-0.2, 0.9), min_size=1, max_size=9), st.sampled_from(["fitted", "interpolated"]))
def test_ratios_grow_with_the_loss(losses: list[float], solver: sensitivity.Solver) -> None:
    curve = Curve("g", sensitivity.RATIOS[: len(losses)], tuple(0.9 - loss for loss in losses))
    at = sensitivity._ratio_at(curve, 0.9, solver)
    ratios = [at(step / 50) for step in range(-10, 50)]
    assert all(0 <= ratio <= curve.ratios[-1] for ratio in ratios)
    assert all(before <= after + 1e-6 for before, after in pairwise(ratios))


def test_iterative_targets_are_the_published_ones() -> None:
    assert len(iterative_targets(0.5, 0.07)) == 10
    assert iterative_targets(0.5, 0.07)[-1] == pytest.approx(0.5)
    assert iterative_targets(0.488, 0.2) == pytest.approx((0.2, 0.36, 0.488))
    for removed, each in ((0.0, 0.1), (1.0, 0.1), (0.5, 0.0), (0.5, 1.0)):
        with pytest.raises(BadInput):
            iterative_targets(removed, each)


class Killed(Exception):
    pass


def test_nothing_is_evaluated_twice_after_a_kill(tmp_path: Path) -> None:
    asked: list[str] = []

    def accuracy(counts: Mapping[str, int]) -> float:
        asked.append(json.dumps(counts))
        if len(asked) == 12:
            raise Killed
        return counts["a"] / 40 + counts["b"] / 80

    channels = {"a": 20, "b": 20}
    with pytest.raises(Killed):
        sensitivity.measure(channels, accuracy, tmp_path, Silent(), identity="x")
    lines = tmp_path / sensitivity.EVALUATIONS
    lines.write_bytes(lines.read_bytes()[:-7])  # the kill came in the middle of the last write
    found = sensitivity.measure(channels, accuracy, tmp_path, Silent(), identity="x")
    assert len(asked) == 1 + 18 + 2  # one was never answered, one was cut
    assert len(set(asked)) == 19
    assert found.curves[0].accuracies[0] == pytest.approx(18 / 40 + 20 / 80)
    assert sensitivity.read(tmp_path / sensitivity.CURVES) == found
    assert sensitivity.measure(channels, accuracy, tmp_path, Silent(), identity="x") == found
    assert len(asked) == 21


def test_a_foreign_or_damaged_file_of_candidates_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "known.jsonl"
    Remembered(lambda _: 0.5, path, "one")({"a": 1})
    with pytest.raises(BadInput, match="another search"):
        Remembered(lambda _: 0.5, path, "two")
    path.write_text('{"identity": "one"}\n{"counts": 3}\n')
    with pytest.raises(BadInput, match="damaged"):
        Remembered(lambda _: 0.5, path, "one")


@pytest.mark.parametrize("accuracy", [float("nan"), -0.1, 50.0])
def test_an_accuracy_that_is_none(tmp_path: Path, accuracy: float) -> None:
    with pytest.raises(WorkFailed, match="not as a share of 1"):
        Remembered(lambda _: accuracy, tmp_path / "known.jsonl", "x")({"a": 1})
    assert not (tmp_path / "known.jsonl").exists()
