"""Final errors over the seeds of each network and depth."""

import numpy as np
import pandas as pd

from depthbench.analysis import FINISHED, STATUSES
from depthbench.analysis.intervals import PERCENT, mean_interval

# column of `Results.runs` -> words; the last evaluation counts, never the best one
ERRORS = {"train_error_eval": "train error", "test_error": "test error"}
CROPS = ("test_error_10crop", "test_error_top5", "test_error_top5_10crop")  # of ImageNet's protocol


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each network and depth, in this order: how its runs ended, and their final errors.

    `runs` is `Results.runs`. Columns: network, depth; seeds, the runs stored; done, diverged, failed,
    interrupted, how many ended with each status; n, how many have final errors (done and diverged, a diverged
    one at chance error). For train_error_eval, test_error, and each of CROPS that a run has (percent):
    NAME_mean, NAME_min, NAME_max, and NAME_low to NAME_high, the 95 % interval of the mean
    (`intervals.mean_interval`; NaN for n < 5)."""
    rows = []
    errors = (*ERRORS, *(name for name in CROPS if name in runs and runs[name].notna().any()))
    for (network, depth), group in runs.groupby(["network", "depth"]):
        finished = group[group["status"].isin(FINISHED)]
        row = {"network": network, "depth": depth, "seeds": len(group)}
        row |= {status: int((group["status"] == status).sum()) for status in STATUSES}
        row["n"] = len(finished)
        for name in errors:
            row |= {f"{name}_{key}": value for key, value in spread(finished[name]).items()}
        rows.append(row)
    return pd.DataFrame(rows)


def over_seeds(
    table: pd.DataFrame, keys: list[str], column: str, bounds: tuple[float, float] = PERCENT
) -> pd.DataFrame:
    """Return a row for each value of `keys`, in the order of `table`.

    Columns: the keys, the number of rows n, and the `spread` of `column` between `bounds`."""
    rows = [
        dict(zip(keys, key, strict=True)) | {"n": len(group)} | spread(group[column], bounds)
        for key, group in (table.groupby(keys, sort=False) if len(table) else ())
    ]
    return pd.DataFrame(rows, columns=[*keys, "n", "mean", "low", "high", "min", "max"])


def spread(values: pd.Series, bounds: tuple[float, float] = PERCENT) -> dict[str, float]:
    """Return mean, its 95 % interval low to high (`mean_interval`), min and max of the known values."""
    known = pd.to_numeric(values, errors="coerce").dropna().to_numpy(float)
    if not len(known):
        return dict.fromkeys(("mean", "low", "high", "min", "max"), np.nan)
    low, high = mean_interval(known, bounds)
    return {"mean": known.mean(), "low": low, "high": high, "min": known.min(), "max": known.max()}
