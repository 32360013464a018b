"""The error of networks that have learned nothing."""

import math

import pandas as pd

from depthbench.analysis.verdict import LEAST_SEEDS

NEAR = 5.0  # percentage points below chance; a smaller distance may be luck


def near_chance(runs: pd.DataFrame) -> float:
    """Return the error (percent) above which a network of `Results.runs` has learned nothing.

    This is chance error minus NEAR; NaN if neither it nor the number of classes is recorded."""
    recorded = pd.to_numeric(runs["chance_error"]).max() if "chance_error" in runs else math.nan
    if math.isfinite(recorded):
        return recorded - NEAR
    return 100 * (1 - 1 / pd.to_numeric(runs["num_classes"]).max()) - NEAR


def at_chance(summary: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """List the networks whose mean train error is at chance at every depth, so it cannot rise.

    `summary` is `analysis.summary.summarise` of `runs`. Networks with too few seeds for a verdict are
    omitted."""
    lowest = summary.groupby("network", sort=False).agg({"train_error_eval_mean": "min", "n": "max"})
    learned_nothing = lowest["train_error_eval_mean"] > near_chance(runs)
    return list(lowest.index[learned_nothing & (lowest["n"] >= LEAST_SEEDS)])
