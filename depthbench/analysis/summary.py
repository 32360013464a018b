"""Final errors over the seeds of each network and depth."""

import math

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from depthbench.analysis import FINISHED, STATUSES

# column of `Results.runs` -> words; the last evaluation counts, never the best one
ERRORS = {"train_error_eval": "train error", "test_error": "test error"}
CROPS = ("test_error_10crop", "test_error_top5", "test_error_top5_10crop")  # of ImageNet's protocol


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each network and depth, in this order: how its runs ended, and their final errors.

    `runs` is `Results.runs`. Columns: network, depth; seeds, the number of runs stored; done, diverged,
    failed, interrupted, how many have each status; n, how many have final errors (done or diverged; a
    diverged run counts at chance error). For train_error_eval, test_error, and each of CROPS that a run has
    (percent): NAME_mean, NAME_min, NAME_max, and NAME_low to NAME_high, the 95 % t interval of the mean (NaN
    for n < 2)."""
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


def over_seeds(table: pd.DataFrame, keys: list[str], column: str) -> pd.DataFrame:
    """Return a row for each value of `keys`, in the order of `table`.

    Columns: the keys, the number of rows n, and the `spread` of `column`."""
    rows = [
        dict(zip(keys, key, strict=True)) | {"n": len(group)} | spread(group[column])
        for key, group in (table.groupby(keys, sort=False) if len(table) else ())
    ]
    return pd.DataFrame(rows, columns=[*keys, "n", "mean", "low", "high", "min", "max"])


def t_half(values: np.ndarray) -> float:
    """Return half the 95 % t interval of the mean of two or more values.

    It uses scipy.special, because importing scipy.stats takes most of a second in each process that draws."""
    return stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / math.sqrt(len(values))


def spread(values: pd.Series) -> dict[str, float]:
    """Return the mean of the known values, its 95 % t interval low to high (NaN for n < 2), min and max."""
    known = pd.to_numeric(values, errors="coerce").dropna().to_numpy(float)
    if not len(known):
        return dict.fromkeys(("mean", "low", "high", "min", "max"), np.nan)
    mean, half = known.mean(), np.nan
    if len(known) > 1:
        half = t_half(known)
    return {"mean": mean, "low": mean - half, "high": mean + half, "min": known.min(), "max": known.max()}
