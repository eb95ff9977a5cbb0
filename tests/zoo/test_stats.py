"""Figures and intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.records import repeat_of
from zoo import stats
from zoo.stats import median_interval, ratio_interval, spread, summarise

samples = st.lists(st.integers(1, 10**10), min_size=1, max_size=30)


@settings(max_examples=25, deadline=None)
@given(st.lists(samples, min_size=1, max_size=4))
def test_figures_are_those_of_the_pooled_samples(repeats: list[list[int]]) -> None:
    summary = summarise([repeat_of(values) for values in repeats])
    pooled = np.concatenate([np.asarray(r, float) for r in repeats]) / 1e6
    assert summary.median_ms == pytest.approx(np.median(pooled))
    assert summary.mean_ms == pytest.approx(pooled.mean())
    assert (summary.min_ms, summary.max_ms) == (pooled.min(), pooled.max())
    assert summary.min_ms <= summary.ci95_ms[0] <= summary.ci95_ms[1] <= summary.max_ms
    assert summary.p90_ms <= summary.p99_ms * (1 + 1e-12)


def test_the_same_samples_give_the_same_interval() -> None:
    repeats = [[3, 4, 5, 6], [4, 5, 6, 9], [1, 2, 3, 4]]
    assert median_interval(repeats, seed=1) == median_interval(repeats, seed=1)


def test_repeats_that_differ_give_a_wider_interval_than_their_pooled_samples() -> None:
    random = np.random.default_rng(0)
    repeats = [(random.normal(centre, 1e3, 200)).astype(int).tolist() for centre in (1e6, 1.1e6, 1.2e6)]
    low, high = median_interval(repeats)
    pooled_low, pooled_high = median_interval([[value for repeat in repeats for value in repeat]])
    assert high - low > 2 * (pooled_high - pooled_low)


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    """Ten processes, each with an offset of its own: pooling their samples promises far more than it holds."""
    random = np.random.default_rng(7)
    covered = pooled_covered = 0
    tries = 60
    for _ in range(tries):
        repeats = [random.normal(1e6 + random.normal(0, 2e4), 1e4, 50).astype(int).tolist() for _ in range(10)]
        low, high = median_interval(repeats)
        covered += low * 1e6 <= 1e6 <= high * 1e6
        low, high = median_interval([[value for repeat in repeats for value in repeat]])
        pooled_covered += low * 1e6 <= 1e6 <= high * 1e6
    assert covered / tries >= 0.80
    assert pooled_covered < covered


def test_a_ratio_and_its_interval() -> None:
    random = np.random.default_rng(3)
    slow = [random.normal(2e6, 1e4, 100).astype(int).tolist() for _ in range(3)]
    fast = [random.normal(1e6, 1e4, 100).astype(int).tolist() for _ in range(3)]
    ratio, low, high = ratio_interval(slow, fast)
    assert low < ratio < high
    assert ratio == pytest.approx(2.0, rel=0.01)
    assert high - low < 0.1


def test_thinning_keeps_the_distribution() -> None:
    values = np.random.default_rng(0).exponential(1e6, 50_000)
    thinned = stats._thinned(values)
    assert len(thinned) == stats.MOST_SAMPLES
    assert np.percentile(thinned, [10, 50, 90]) == pytest.approx(np.percentile(values, [10, 50, 90]), rel=0.01)


def test_spread() -> None:
    assert spread([1.0, 1.01, 1.02]) == pytest.approx(0.0198, rel=0.01)
    assert spread([1.0]) is None
    assert spread([]) is None


def test_no_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        summarise([])
    with pytest.raises(ValueError, match="at least one"):
        summarise([repeat_of([])])
