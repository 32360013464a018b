"""How many seeds would decide an inconclusive verdict, by simulation of the paired test."""

from functools import cache

import numpy as np
from scipy.special import stdtrit

from depthbench.analysis.verdict import LEAST_SEEDS, LEVEL

POWER = 0.8
"""The probability with which the verdict must be reached."""
MOST_SEEDS = 200
TRIALS = 4000


def seeds_to_decide(
    differences: np.ndarray, margin: float, pairs: int = 1, *, uncorrected_below: int = 0
) -> int | None:
    """Return the number of seeds with which the verdict would be `present` or `absent` with 80 % probability.

    `differences` (n,): D of each seed so far, in percentage points (`verdict.degradation`). Assumes that D of
    every seed is normal with the mean and the standard deviation seen so far. `pairs`: the pairs of depths
    that the p value is corrected for; the strictest correction is assumed. With fewer than
    `uncorrected_below` seeds, one test of all depths decides instead. Returns LEAST_SEEDS if there are fewer
    than two differences, because one has no spread, and None if MOST_SEEDS seeds would not be enough."""
    if len(differences) < 2:
        return LEAST_SEEDS
    mean, sd = float(np.mean(differences)), float(np.std(differences, ddof=1))

    def is_enough(n: int) -> bool:
        level = LEVEL if n < uncorrected_below else LEVEL / pairs
        return _decided(n, mean, sd, margin=margin, level=level) >= POWER

    candidates = range(max(LEAST_SEEDS, len(differences) + 1), MOST_SEEDS + 1)
    return next((n for n in candidates if is_enough(n)), None)


def _decided(n: int, mean: float, sd: float, *, margin: float, level: float) -> float:
    """Return the fraction of simulated studies of n seeds with a verdict (`verdict.decide`)."""
    means, spreads = _standard(n)
    d, error = mean + sd * means, sd * spreads / n**0.5
    present = (d > -stdtrit(n - 1, level) * error) & (d >= margin)
    absent = d + stdtrit(n - 1, 1 - LEVEL) * error < margin
    return float((present | absent).mean())


@cache
def _standard(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of TRIALS samples of n standard normal numbers, always the same.

    For normal samples the two are independent: the mean is normal, the variance chi-squared."""
    rng = np.random.default_rng(n)
    return rng.normal(0, n**-0.5, TRIALS), np.sqrt(rng.chisquare(n - 1, TRIALS) / (n - 1))
