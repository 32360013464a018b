"""Test errors on corrupted images over the seeds of each network and depth."""

import pandas as pd

from depthbench.analysis.summary import spread


def summarise_robustness(robustness: pd.DataFrame) -> pd.DataFrame:
    """A row a network, depth, corruption and strength of `store.load_robustness`, over the seeds.

    Columns, besides: n, how many there are, a diverged run counting at chance error; mean, low and high (its
    95% t interval, NaN for n < 2), min, max of the test error (percent)."""
    keys = ["network", "depth", "corruption", "strength"]
    rows = [
        dict(zip(keys, key, strict=True)) | {"n": len(group)} | spread(group["test_error"])
        for key, group in (robustness.groupby(keys, sort=False) if len(robustness) else ())
    ]
    return pd.DataFrame(rows, columns=[*keys, "n", "mean", "low", "high", "min", "max"])
