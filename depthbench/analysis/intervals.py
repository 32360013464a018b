"""Confidence intervals of a mean over seeds.

From MIN_SEEDS seeds on: the studentised bootstrap (Efron and Tibshirani 1993, An Introduction to the
Bootstrap, sec. 12.5), or Student's t if two seeds tie, because a resample without spread has no t. Both are
cut at the bounds of the quantity. The coverage of 95 % intervals, simulated as in
tests/analysis/test_intervals.py for normal errors and for errors skewed near 0 %:

| interval | 5 seeds | 10 seeds |
|---|---|---|
| this one | 89 to 95 % | 91 to 95 % |
| Student's t | 82 to 96 % | 84 to 95 % |
| bootstrap BCa | 76 to 85 % | 83 to 90 % |

Its price is width: at 5 seeds it is 1 to 3.7 times as wide as Student's t, at 10 seeds 1 to 2.1 times. With
fewer seeds no method covers 95 %, so reports show the seeds and their range."""

import math
from functools import cache

import numpy as np
from scipy.special import stdtrit

MIN_SEEDS = 5
LEVEL = 0.95
RESAMPLES = 4999
PERCENT = (0.0, 100.0)
"""The bounds of a percentage."""
POINTS = (-100.0, 100.0)
"""The bounds of a difference of two percentages."""
NO_BOUNDS = (-math.inf, math.inf)


def mean_interval(values: np.ndarray, bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the 95 % interval (low, high) of the mean of `values` (n,), cut at `bounds`.

    Both ends are NaN if there are fewer than MIN_SEEDS values."""
    n = len(values)
    if n < MIN_SEEDS:
        return math.nan, math.nan
    mean, error = values.mean(), values.std(ddof=1) / math.sqrt(n)
    low, high = student(n) if len(np.unique(values)) < n else _studentised(values)
    return max(bounds[0], float(mean - high * error)), min(bounds[1], float(mean - low * error))


def student(n: int) -> tuple[float, float]:
    """Return the quantiles of t between which the central 95 % lie."""
    high = float(stdtrit(n - 1, (1 + LEVEL) / 2))
    return -high, high


def _studentised(values: np.ndarray) -> tuple[float, float]:
    """Return the same quantiles of t over resamples of `values`, which must differ."""
    samples = values[_resamples(len(values))]  # (resamples, n)
    errors = samples.std(axis=1, ddof=1) / math.sqrt(len(values))
    has_spread = errors > 0
    t = (samples.mean(axis=1) - values.mean())[has_spread] / errors[has_spread]
    low, high = np.quantile(t, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


@cache
def _resamples(n: int) -> np.ndarray:
    """Return indices (RESAMPLES, n) of resamples of n values. They are always the same, so results repeat."""
    return np.random.default_rng(n).integers(0, n, (RESAMPLES, n))
