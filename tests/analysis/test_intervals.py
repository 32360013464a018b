"""Coverage of the intervals of a mean, and what they never do."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from depthbench.analysis.intervals import MIN_SEEDS, NO_BOUNDS, PERCENT, mean_interval, student

TRIALS = 400
ERRORS = {  # of test errors (percent): typical, skewed near 0, of few images
    "normal": (lambda rng, n: rng.normal(20, 3, n), 20.0),
    "gamma": (lambda rng, n: rng.gamma(1, 1, n), 1.0),
    "beta": (lambda rng, n: 100 * rng.beta(0.5, 20, n), 100 * 0.5 / 20.5),
    "binomial": (lambda rng, n: 100 * rng.binomial(360, 0.005, n) / 360, 0.5),
}


def coverage(interval, name, n):
    draw, mean = ERRORS[name]
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(TRIALS):
        low, high = interval(draw(rng, n))
        inside += low <= mean <= high
    return inside / TRIALS


def of_student(values):
    half = student(len(values))[1] * stats.sem(values)
    return values.mean() - half, values.mean() + half


def of_bca(values):
    if np.ptp(values) == 0:
        return values[0], values[0]
    test = stats.bootstrap((values,), np.mean, n_resamples=499, method="BCa", rng=0)
    return test.confidence_interval


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("name", ERRORS)
def test_coverage_is_near_95_percent(name, n):
    three_errors = 3 * math.sqrt(0.95 * 0.05 / TRIALS)
    assert coverage(lambda values: mean_interval(values, PERCENT), name, n) > 0.93 - three_errors


@pytest.mark.parametrize("other", [of_student, of_bca])
def test_it_covers_skewed_errors_better_than_the_alternatives(other):
    assert coverage(lambda v: mean_interval(v, PERCENT), "beta", 5) > coverage(other, "beta", 5) + 0.05


def test_with_few_seeds_there_is_none():
    assert all(map(math.isnan, mean_interval(np.arange(MIN_SEEDS - 1.0), PERCENT)))


def test_seeds_that_tie_get_students_interval():
    values = np.array([1.0, 2.0, 2.0, 3.0, 5.0])
    assert mean_interval(values, NO_BOUNDS) == pytest.approx(
        stats.t.interval(0.95, 4, 2.6, stats.sem(values))
    )


def test_equal_seeds_have_an_interval_without_width():
    assert mean_interval(np.full(6, 7.0), PERCENT) == (7, 7)


@given(st.lists(st.floats(0, 100), min_size=MIN_SEEDS, max_size=12).map(np.array))
def test_it_holds_the_mean_and_no_impossible_percentage(values):
    low, high = mean_interval(values, PERCENT)
    assert 0 <= low <= values.mean() + 1e-9
    assert values.mean() - 1e-9 <= high <= 100
    assert mean_interval(values, PERCENT) == (low, high)
