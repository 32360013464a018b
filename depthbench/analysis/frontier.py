"""The greatest depth at which a network still trains: found by doubling, then bisection, for each seed.

A depth is told by its n, 1 for the least of its family (6n + 2, for one). That deeper networks train worse is
taken for granted between two depths that were tried: of a network that trains again beyond a depth where it
did not, the search finds the first frontier that it comes across."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from depthbench.analysis.theory import TRAINABLE, depth_scale
from depthbench.networks import DepthList, DepthRule


def next_n(trains: Mapping[int, bool], most: int) -> int | None:
    """The n to try next, given whether those tried train; None once the frontier is known.

    1, 2, 4, ... up to `most` while all train; then halfway between the greatest that trains and the least
    above it that does not."""
    failing = min((n for n, does in trains.items() if not does), default=None)
    training = max((n for n, does in trains.items() if does and (failing is None or n < failing)), default=0)
    if failing is None:
        return min(2 * training, most) or 1 if training < most else None
    return (training + failing) // 2 if failing - training > 1 else None


def trains(runs: pd.DataFrame, below: float) -> pd.Series:
    """Whether each finished run trained: done, with a train error below `below` percent; NA of others."""
    does = (runs["status"] == "done") & (pd.to_numeric(runs["train_error_eval"], errors="coerce") < below)
    return does.astype("boolean").mask(~runs["status"].isin(("done", "diverged")))


def frontiers(runs: pd.DataFrame, below: float) -> pd.DataFrame:
    """A row for each network and seed: the greatest depth that trains and the least above it that does not.

    Columns: network, seed; trains (NA where not even the least depth tried does); fails (NA where all depths
    tried train: the frontier lies at `trains` or deeper); tried, how many depths were."""
    rows = []
    known = runs.assign(does=trains(runs, below)).dropna(subset=["does"])
    for (network, seed), group in known.groupby(["network", "seed"]):
        failing = group.loc[~group["does"].astype(bool), "depth"].min()
        under = group[group["does"].astype(bool) & ~(group["depth"] > failing)]
        rows.append(
            {"network": network, "seed": seed, "trains": under["depth"].max(), "fails": failing}
            | {"tried": len(group)}
        )
    columns = ["network", "seed", "trains", "fails", "tried"]
    return pd.DataFrame(rows, columns=columns).astype({"trains": "Int64", "fails": "Int64"})


def summarise(found: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """A row a network: median, least and greatest frontier over the seeds of `frontiers` of `runs`.

    A seed with no depth that trains counts as 0; open says in how many seeds every depth tried trained, so
    that the frontier may lie deeper; expected is the depth up to which mean-field theory expects the network
    to train, infinite or NaN where it names none. Columns: network, n, median, low, high, open, expected."""
    rows = []
    for network, group in found.groupby("network", sort=False):
        depths = group["trains"].fillna(0).to_numpy(float)
        row = {"network": network, "n": len(group), "median": float(np.median(depths))}
        rows.append(
            row
            | {"low": depths.min(), "high": depths.max(), "open": int(group["fails"].isna().sum())}
            | {"expected": TRAINABLE * depth_scale(runs[runs["network"] == network].iloc[0].to_dict())}
        )
    return pd.DataFrame(rows, columns=["network", "n", "median", "low", "high", "open", "expected"])


class Search(NamedTuple):
    """What a search found: `frontiers` a network and seed, `summary` a network."""

    below: float  # percent: what trains has a lower train error
    frontiers: pd.DataFrame
    summary: pd.DataFrame


def searched(runs: pd.DataFrame) -> Search | None:
    """The search that `runs`, of `Results`, are of; None of another study, or where no run has finished."""
    bounds = runs["frontier.below"].dropna()
    if bounds.empty:
        return None
    found = frontiers(runs, bounds.iloc[0])
    return None if found.empty else Search(bounds.iloc[0], found, summarise(found, runs))


def most_n(depths: DepthRule | DepthList, deepest: int) -> int:
    """The greatest n of a family's depths that is at most `deepest` layers; 0 where there is none."""
    n = 0
    while (depth := depths.depth(n + 1)) is not None and depth <= deepest:
        n += 1
    return n
