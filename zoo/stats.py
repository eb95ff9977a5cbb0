"""Figures from raw samples: pure, seeded, the same every time.

The interval is a hierarchical (two-level) bootstrap, as pyperf and asv users know the problem: processes differ more
than runs inside one process, so resampling pooled samples gives an interval that is far too narrow. Repeats are drawn
with replacement, then samples inside each drawn repeat (Davison & Hinkley 1997, section 3.8).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.measurement import Repeat, Reported, Summary
from zoo.timings import centre_of, timings_ns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 2000
# A median of very many samples is resampled from this many: the interval between processes is what it must show, and
# the cost of a bootstrap grows with every sample.
MOST_SAMPLES = 1000
ROW_VALUES = 20_000  # values of resamples that are drawn at once: 160 kB of float64

Samples = Sequence[Sequence[int]]


def summarise(repeats: Sequence[Repeat], *, seed: int = 0) -> Summary:
    """All figures of one cell, in milliseconds.

    Args:
        repeats: at least one, each with at least one sample or with what its tool reported.
        seed: of the bootstrap.

    Raises:
        ValueError: there is nothing to summarise.
    """
    import numpy as np

    samples = [repeat.samples_ns for repeat in repeats]
    if not samples or not all(repeat.samples_ns or repeat.reported for repeat in repeats):
        raise ValueError("a summary needs at least one repeat, and a sample or a report in each")
    if not all(samples):
        return _summarise_reports(repeats, seed)
    pooled = np.concatenate([np.asarray(s, dtype=np.float64) for s in samples]) / 1e6
    median = float(np.median(pooled))
    low, high = median_interval(samples, seed=seed)
    inits = [r.init_ns for r in repeats if r.init_ns is not None]
    firsts = [r.first_ns for r in repeats if r.first_ns is not None]
    return Summary(
        median_ms=median,
        mean_ms=float(pooled.mean()),
        p90_ms=float(np.percentile(pooled, 90)),
        p99_ms=float(np.percentile(pooled, 99)),
        min_ms=float(pooled.min()),
        max_ms=float(pooled.max()),
        std_ms=float(pooled.std(ddof=1)) if len(pooled) > 1 else 0.0,
        mad_ms=float(np.median(np.abs(pooled - median))),
        ci95_ms=(low, high),
        repeat_medians_ms=tuple(float(np.median(np.asarray(s))) / 1e6 for s in samples),
        init_ms=float(np.median(inits)) / 1e6 if inits else None,
        first_ms=float(np.median(firsts)) / 1e6 if firsts else None,
    )


def _summarise_reports(repeats: Sequence[Repeat], seed: int) -> Summary:
    """A summary from centres: what lies inside a process is known only as its tool tells it."""
    import numpy as np

    reports = [repeat.reported or _report_of(repeat.samples_ns) for repeat in repeats]
    centres = timings_ns(repeats)
    counts = np.asarray([r.count for r in reports], dtype=np.float64)
    means = np.asarray([r.mean_ns for r in reports], dtype=np.float64)
    squares = np.asarray([r.std_ns for r in reports], dtype=np.float64) ** 2 + means**2
    mean = float((counts * means).sum() / counts.sum())
    least, most = min(r.min_ns for r in reports) / 1e6, max(r.max_ns for r in reports) / 1e6
    # One centre has no interval; all that is known of it is that no run was outside these.
    interval = median_interval(centres, seed=seed) if len(centres) > 1 else (least, most)
    inits = [r.init_ns for r in repeats if r.init_ns is not None]
    firsts = [r.first_ns for r in repeats if r.first_ns is not None]
    return Summary(
        median_ms=float(np.median([c[0] for c in centres])) / 1e6,
        centre=centre_of(repeats),
        mean_ms=mean / 1e6,
        p90_ms=None,
        p99_ms=None,
        min_ms=least,
        max_ms=most,
        std_ms=float(np.sqrt(max(0.0, (counts * squares).sum() / counts.sum() - mean**2))) / 1e6,
        mad_ms=None,
        ci95_ms=interval,
        repeat_medians_ms=tuple(c[0] / 1e6 for c in centres),
        init_ms=float(np.median(inits)) / 1e6 if inits else None,
        first_ms=float(np.median(firsts)) / 1e6 if firsts else None,
    )


def _report_of(samples: Sequence[int]) -> Reported:
    import numpy as np

    values = np.asarray(samples, dtype=np.float64)
    return Reported(
        count=len(samples),
        min_ns=min(samples),
        max_ns=max(samples),
        mean_ns=round(float(values.mean())),
        std_ns=round(float(values.std())),
    )


def median_interval(samples: Samples, *, seed: int = 0, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of the pooled median in milliseconds; ``samples`` are nanoseconds, one sequence per repeat."""
    import numpy as np

    medians = _resampled_medians(samples, np.random.default_rng(seed))
    tail = (1 - confidence) / 2 * 100
    low, high = np.percentile(medians, [tail, 100 - tail]) / 1e6
    return float(low), float(high)


def ratio_interval(a: Samples, b: Samples, *, seed: int = 0, confidence: float = 0.95) -> tuple[float, float, float]:
    """How many times longer ``a`` takes than ``b``.

    Args:
        a: nanoseconds, one sequence per repeat.
        b: likewise.
        seed: of the bootstrap.

    Returns:
        The ratio of the pooled medians a/b, and the lower and upper end of its interval.
    """
    import numpy as np

    ratio = float(np.median(np.concatenate([np.asarray(s) for s in a]))) / float(
        np.median(np.concatenate([np.asarray(s) for s in b]))
    )
    first, second = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    ratios = _resampled_medians(a, first) / _resampled_medians(b, second)
    tail = (1 - confidence) / 2 * 100
    low, high = np.percentile(ratios, [tail, 100 - tail])
    return ratio, float(low), float(high)


def spread(values: Sequence[float]) -> float | None:
    """(largest - smallest) / median; None for fewer than two values or a median of 0."""
    import numpy as np

    if len(values) < 2:
        return None
    middle = float(np.median(values))
    return (max(values) - min(values)) / middle if middle else None


def _resampled_medians(samples: Samples, random: np.random.Generator) -> NDArray[np.float64]:
    """Pooled medians of RESAMPLES two-level resamples, in the unit of the samples."""
    import numpy as np

    repeats = [_thinned(np.asarray(s, dtype=np.float64)) for s in samples]
    sizes = np.asarray([len(repeat) for repeat in repeats])
    starts = np.cumsum(sizes) - sizes
    pooled = np.concatenate(repeats)
    drawn = random.integers(0, len(repeats), size=(RESAMPLES, len(repeats)))
    medians = np.empty(RESAMPLES)
    # Resamples of equally many values are drawn at once, as rows of an array that stays in the caches.
    totals = sizes[drawn].sum(axis=1)
    for total in np.unique(totals).tolist():
        (rows,) = np.nonzero(totals == total)
        step = max(1, ROW_VALUES // total)
        for begin in range(0, len(rows), step):
            part = rows[begin : begin + step]
            counts = sizes[drawn[part]].ravel()
            first = np.repeat(starts[drawn[part]].ravel(), counts)
            chosen = first + (random.random(len(first)) * np.repeat(counts, counts)).astype(np.int64)
            values = pooled[chosen].reshape(len(part), total)
            middle = total // 2
            values.partition((middle - 1, middle) if total % 2 == 0 else middle, axis=1)
            medians[part] = values[:, middle] if total % 2 else (values[:, middle - 1] + values[:, middle]) / 2
    return medians


def _thinned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most MOST_SAMPLES order statistics, evenly spaced: the same distribution, fewer values."""
    import numpy as np

    if len(values) <= MOST_SAMPLES:
        return values
    return np.quantile(values, (np.arange(MOST_SAMPLES) + 0.5) / MOST_SAMPLES)
