"""Losses of next-token prediction, in nats and bits per token."""

import math

import numpy as np
import pandas as pd

from depthbench.analysis.summary import over_seeds

LOSSES = {"train_loss_eval": "train", "test_loss": "test"}
"""Column of `Results.runs` -> the set on which the loss is measured."""
NOT_NEGATIVE = (0.0, math.inf)


def final_losses(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each network, depth and set with a final loss.

    `runs` is `Results.runs`. Columns: network, depth, predicts (e.g. `next characters`), set (train or test);
    n, the number of runs with this loss; mean, low and high (its 95 % interval, NaN for n < 5), min and max
    in nats per token; bits, the mean in bits per token. Diverged and unfinished runs have no final loss."""
    done = runs[runs["status"] == "done"]
    if "predicts" not in runs:
        done = done[:0].assign(predicts=None)
    tables = []
    for column, name in LOSSES.items():
        known = done[pd.to_numeric(done[column], errors="coerce").notna()] if column in done else done[:0]
        table = over_seeds(known, ["network", "depth", "predicts"], column, NOT_NEGATIVE)
        tables.append(table.assign(set=name))
    joined = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
    return joined.assign(bits=bits(joined["mean"].astype(float)))


def bits(nats: pd.Series) -> pd.Series:
    """Convert nats to bits."""
    return nats / np.log(2)
