"""The arithmetic of look-up tables."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.search.parts import Channels, Geometry, Part
from compressors.search.table import Bend, Grid, Predictor, axis, grids, interpolate

POINTWISE = Geometry(operator="CONV_2D", size=(14, 14), made=(14, 14), kernel=(1, 1))
DEPTHWISE = Geometry(operator="DEPTHWISE_CONV_2D", size=(14, 14), made=(14, 14), kernel=(3, 3), groups=0)
GROUPED = Geometry(operator="CONV_2D", size=(14, 14), made=(14, 14), kernel=(3, 3), groups=4)
COST = st.floats(0.001, 1000)


@given(st.integers(1, 2048), st.integers(1, 2048), st.integers(2, 9), st.sampled_from([1, 4, 8]))
def test_an_axis_grows_from_the_smallest_to_the_largest(one: int, other: int, points: int, step: int) -> None:
    found = axis([one, other], points, step)
    assert found[0] == min(one, other)
    assert found[-1] == max(one, other)
    assert list(found) == sorted(set(found))
    assert len(found) <= points
    assert all(each % step == 0 for each in found[1:-1])


@given(st.tuples(COST, COST, COST, COST), st.integers(8, 512), st.integers(8, 512))
def test_what_grows_with_both_channels_and_their_product_is_met_exactly(
    terms: tuple[float, float, float, float], read: int, made: int
) -> None:
    def cost(x: int, y: int) -> float:
        a, b, c, d = terms
        return a * x * y + b * x + c * y + d

    grid = Grid(POINTWISE, (8, 96, 512), (8, 120, 512))
    values = {point: cost(*point) for point in grid.points}
    assert interpolate(grid, values, read, made) == pytest.approx(cost(read, made), rel=1e-9)


def test_beyond_its_grid_a_cost_goes_on_straight_and_never_below_nothing() -> None:
    grid = Grid(DEPTHWISE, (8, 16), (8, 16))
    values = {(8, 8): 1.0, (16, 16): 3.0}
    assert interpolate(grid, values, 24, 24) == pytest.approx(5)
    assert interpolate(grid, values, 1, 1) == 0


def test_parts_of_one_geometry_share_a_grid_that_covers_them_all() -> None:
    parts = [
        Part(POINTWISE, Channels(0, (("a", 1),)), Channels(0, (("b", 1),))),
        Part(POINTWISE, Channels(0, (("b", 1),)), Channels(10)),
        Part(DEPTHWISE, Channels(0, (("b", 1),)), Channels(0, (("b", 1),))),
        Part(GROUPED, Channels(0, (("a", 1),)), Channels(0, (("a", 1),))),
    ]
    found = {grid.geometry: grid for grid in grids(parts, {"a": 8, "b": 16}, {"a": 32, "b": 64}, points=3)}
    assert set(found) == {POINTWISE, DEPTHWISE, GROUPED}
    assert (found[POINTWISE].read[0], found[POINTWISE].read[-1]) == (8, 64)
    assert (found[POINTWISE].made[0], found[POINTWISE].made[-1]) == (10, 64)
    assert found[DEPTHWISE].points == ((16, 16), (32, 32), (64, 64))
    assert all(each % 4 == 0 for each in found[GROUPED].read)


PAIRS = st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)), min_size=1, max_size=8)


@given(PAIRS, st.lists(st.floats(0.01, 200), min_size=2, max_size=20))
def test_a_bend_never_says_that_more_work_takes_less_time(pairs: list[tuple[float, float]], sums: list[float]) -> None:
    bend = Bend.through(pairs)
    said = [bend(each) for each in sorted(sums)]
    assert all(later >= earlier * (1 - 1e-9) for earlier, later in pairwise(said))


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=1, max_size=6))
def test_a_network_that_was_measured_is_predicted_as_measured(steps: list[tuple[float, float]]) -> None:
    pairs, x, y = [], 0.0, 0.0
    for right, up in steps:
        x, y = x + right, y + up
        pairs.append((x, y))
    bend = Bend.through(reversed(pairs))
    for x, y in pairs:
        assert bend(x) == pytest.approx(y)


def test_without_a_network_the_sum_is_all_there_is() -> None:
    assert Bend()(3.5) == 3.5


def test_what_starting_a_file_takes_is_in_a_network_once() -> None:
    parts = tuple(Part(DEPTHWISE, Channels(8), Channels(8)) for _ in range(3))
    made = grids(parts, {}, {}, points=3)
    predictor = Predictor(parts, {}, {grid.geometry: grid for grid in made}, {DEPTHWISE: {(8, 8): 1.25}}, 0.25)
    assert predictor.layers() == [1.0, 1.0, 1.0]
    assert predictor.sum() == pytest.approx(3.25)
    assert predictor.bent([(3.25, 6.5)])() == pytest.approx(6.5)


def test_what_a_question_leaves_out_is_whole() -> None:
    part = Part(DEPTHWISE, Channels(0, (("a", 1),)), Channels(0, (("a", 1),)))
    made = grids([part], {"a": 8}, {"a": 16}, points=2)
    predictor = Predictor((part,), {"a": 16}, {DEPTHWISE: made[0]}, {DEPTHWISE: {(8, 8): 1.0, (16, 16): 2.0}})
    assert predictor.sum({}) == 2
    assert predictor.sum({"a": 12}) == pytest.approx(1.5)
