"""The error of networks that have learned nothing."""

import pandas as pd

NEAR = 5.0  # percentage points below chance that may be luck


def near_chance(runs: pd.DataFrame) -> float:
    """The error (percent) above which nothing was learned, of `Results.runs`: chance, less NEAR. NaN where
    the number of classes is not recorded."""
    return 100 * (1 - 1 / pd.to_numeric(runs["num_classes"]).max()) - NEAR
