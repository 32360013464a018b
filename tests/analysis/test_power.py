"""Seeds that would decide an inconclusive verdict."""

import numpy as np
import pytest
from scipy import stats

from depthbench.analysis.power import MOST_SEEDS, POWER, seeds_to_decide
from depthbench.analysis.verdict import LEAST_SEEDS, decide

STUDIES = 2000


def share_decided(n, mean, sd, margin):
    """The share of simulated studies of n seeds that a paired t test decides."""
    d = np.random.default_rng(1).normal(mean, sd, (STUDIES, n))
    p = stats.ttest_1samp(d, 0, axis=1, alternative="greater").pvalue
    upper = d.mean(axis=1) + stats.t.ppf(0.95, n - 1) * stats.sem(d, axis=1)
    verdicts = [
        decide(n=n, mean=m, upper=u, p=each, margin=margin)
        for m, u, each in zip(d.mean(axis=1), upper, p, strict=True)
    ]
    return 1 - verdicts.count("inconclusive") / STUDIES


@pytest.mark.parametrize(("mean", "sd"), [(3.0, 2.5), (0.0, 1.2)])
def test_the_verdict_is_reached_with_that_many_seeds_and_not_with_far_fewer(mean, sd):
    pilot = mean + sd * np.array([-1.0, 0.0, 1.0])  # has exactly this mean and standard deviation
    n = seeds_to_decide(pilot, margin=1.0)
    error = 3 * (POWER * (1 - POWER) / STUDIES) ** 0.5
    assert n > 4
    assert share_decided(n, mean, sd, 1.0) > POWER - error
    assert share_decided(n - 2, mean, sd, 1.0) < POWER + error


def test_a_mean_at_the_margin_is_never_decided():
    """Half of all samples lie below the margin, where the verdict is never `present`."""
    assert seeds_to_decide(np.array([-4.0, 1.0, 6.0]), margin=1.0) is None
    assert MOST_SEEDS > 100


def test_more_pairs_of_depths_need_more_seeds():
    pilot = np.array([1.0, 3.0, 5.0])
    one, ten = (seeds_to_decide(pilot, 1.0, pairs) for pairs in (1, 10))
    assert one < ten


@pytest.mark.parametrize("differences", [[], [4.0]])
def test_without_a_spread_it_is_the_least_number(differences):
    assert seeds_to_decide(np.array(differences), 1.0) == LEAST_SEEDS


def test_it_is_always_more_than_there_are():
    assert seeds_to_decide(np.array([3.0, 3.0, 3.0, 3.0, 3.000001]), 1.0) == 6


def test_its_samples_are_those_of_a_normal_distribution():
    from depthbench.analysis.power import _standard

    means, spreads = _standard(5)
    t = means / (spreads / 5**0.5)
    assert stats.kstest(t, stats.t(4).cdf).pvalue > 0.001
