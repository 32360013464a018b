"""The coordinate check over depth: do the size of activations, and their change in the first steps, depend on
the number of blocks? (Dey et al. 2025, arXiv:2505.01618, Fig. 7; Yang et al. 2022, arXiv:2203.03466, D.1.)

The slope of log size against log number of blocks is fitted for each seed, and its 95 % interval is Student's
t over the seeds. With a margin of MARGIN, `flat`: the interval is within the margin. `grows`, `shrinks`: the
interval excludes 0 and the slope is at least the margin. Otherwise, with fewer than LEAST_SEEDS seeds, or if
an activation is not finite or does not change at all, the verdict is `inconclusive`. A slope of MARGIN means
that a network of 16 times as many blocks has twice as large activations.

With alpha = 1, the branches add less to the stream at step 0 the deeper the network, as L^-1/2. The size then
shrinks towards that of the stream's input, and its slope is between -1/2 and 0 until it is reached.

Simulated as in tests/analysis/test_coordinates.py, for 3, 9 and 27 blocks and noise of 10 % in each size: a
slope of 0 is called flat in 84 % of studies with 3 seeds and in 99.9 % with 5, and otherwise inconclusive; a
slope of 0.5 grows in 99.9 % or more; a slope at the margin is called flat in 2.6 % or less."""

from typing import Any

import numpy as np
import pandas as pd

from depthbench.analysis.intervals import student

MARGIN = 0.25
LEAST_SEEDS = 3
LAST_BLOCK, LOGITS = "last block", "logits"
COLUMNS = ["network", "part", "quantity", "step", "n", "depths", "slope", "low", "high", "verdict"]


def sizes(coordinates: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each run, part and quantity of `store.results.load_coordinates`.

    Columns: network, depth, seed, blocks, part (LAST_BLOCK or LOGITS), quantity (`size`: root mean square at
    step 0; `change`: that of the difference to step 0), step, value."""
    if coordinates.empty:
        return pd.DataFrame(
            columns=["network", "depth", "seed", "blocks", "part", "quantity", "step", "value"]
        )
    ends = coordinates[coordinates["block"] == coordinates["blocks"]]
    ends = ends.assign(part=ends["part"].replace("block", LAST_BLOCK))
    keys = ["network", "depth", "seed", "blocks", "part", "step"]
    at_start = ends.loc[ends["step"] == 0, [*keys, "size"]].rename(columns={"size": "value"})
    later = ends.loc[ends["step"] > 0, [*keys, "change"]].rename(columns={"change": "value"})
    return pd.concat([at_start.assign(quantity="size"), later.assign(quantity="change")], ignore_index=True)


def judge_coordinates(coordinates: pd.DataFrame) -> pd.DataFrame:
    """Return a row with COLUMNS for each network, part, quantity and step; see the module.

    coordinates: `store.results.load_coordinates`. n: seeds with at least two depths. depths: how many were
    fitted. Networks with one depth have no rows."""
    rows = []
    order = ["network", "part", "quantity", "step"]
    table = sizes(coordinates)
    for key, group in table.groupby(order, sort=False):
        if group["blocks"].nunique() > 1:
            rows.append(dict(zip(order, key, strict=True)) | _judged(group))
    return pd.DataFrame(rows, columns=COLUMNS)


def _judged(group: pd.DataFrame) -> dict[str, Any]:
    is_known = np.isfinite(group["value"]) & (group["value"] > 0)
    slopes = np.array(
        [
            np.polyfit(np.log(of_seed["blocks"].astype(float)), np.log(of_seed["value"].astype(float)), 1)[0]
            for _, of_seed in group[is_known].groupby("seed")
            if of_seed["blocks"].nunique() > 1
        ]
    )
    slope, low, high = slope_interval(slopes)
    judged = verdict(slope, low, high) if is_known.all() else "inconclusive"
    return {
        "n": len(slopes),
        "depths": group["blocks"].nunique(),
        "slope": slope,
        "low": low,
        "high": high,
        "verdict": judged,
    }


def slope_interval(slopes: np.ndarray) -> tuple[float, float, float]:
    """Return the mean of the slopes (n,) of n seeds and its 95 % interval.

    The interval is NaN with fewer than LEAST_SEEDS seeds."""
    n = len(slopes)
    if not n:
        return np.nan, np.nan, np.nan
    mean = float(slopes.mean())
    if n < LEAST_SEEDS:
        return mean, np.nan, np.nan
    half = student(n)[1] * float(slopes.std(ddof=1)) / n**0.5
    return mean, mean - half, mean + half


def verdict(slope: float, low: float, high: float) -> str:
    """Return `flat`, `grows`, `shrinks` or `inconclusive` for a slope and its 95 % interval."""
    if low > -MARGIN and high < MARGIN:
        return "flat"
    if low > 0 and slope >= MARGIN:
        return "grows"
    if high < 0 and slope <= -MARGIN:
        return "shrinks"
    return "inconclusive"


def by_position(coordinates: pd.DataFrame) -> pd.DataFrame:
    """Return size at step 0 and change after the last step that all runs have, over seeds, by block.

    Columns: network, depth, part (`block` or LOGITS), position (block / blocks), quantity, step, mean
    (geometric), low and high (over seeds), n. Numbers that are zero or not finite are left out."""
    keys = ["network", "depth", "part", "position"]
    columns = [*keys, "quantity", "step", "mean", "low", "high", "n"]
    if coordinates.empty:
        return pd.DataFrame(columns=columns)
    placed = coordinates.assign(position=coordinates["block"] / coordinates["blocks"].clip(lower=1))
    last = int(coordinates.groupby("run_id")["step"].max().min())
    parts = []
    for quantity, step in (("size", 0), ("change", last)):
        chosen = placed[placed["step"] == step]
        chosen = chosen[np.isfinite(chosen[quantity]) & (chosen[quantity] > 0)]
        logs = np.log(chosen[quantity].astype(float)).groupby([chosen[key] for key in keys], sort=False)
        over = pd.DataFrame({"mean": logs.mean(), "low": logs.min(), "high": logs.max()}).map(np.exp)
        parts.append(over.assign(n=logs.count(), quantity=quantity, step=step).reset_index())
    return pd.concat(parts, ignore_index=True)[columns]
