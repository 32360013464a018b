"""The greatest depth at which a network still trains: found by doubling, then bisection, for each seed.

A depth is told by its n, 1 for the least of its family (6n + 2, for one). The least may be too shallow to fit
what deeper ones do: the frontier lies above the least depth that trains. That deeper networks train worse is
taken for granted between two depths that were tried above that: of a network that trains again beyond a depth
where it did not, the search finds the first frontier that it comes across."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from depthbench.analysis.theory import TRAINABLE, depth_scale
from depthbench.networks import NETWORKS, DepthList, DepthRule

FIRST = (1, 2, 4, 8)  # n: where none of these trains, a deeper network is not expected to either


def next_n(trains: Mapping[int, bool], most: int) -> int | None:
    """The n to try next, given whether those tried train; None once the frontier is known.

    FIRST until one trains; from there twice as much, up to `most`, while all train; then halfway between the
    greatest that trains and the least above it that does not."""
    least = min((n for n, does in trains.items() if does), default=None)
    if least is None:
        return next((n for n in (min(n, most) for n in FIRST) if n not in trains), None)
    failing = min((n for n, does in trains.items() if not does and n > least), default=None)
    training = max(n for n, does in trains.items() if does and (failing is None or n < failing))
    if failing is None:
        return min(2 * training, most) if training < most else None
    return (training + failing) // 2 if failing - training > 1 else None


def trains(runs: pd.DataFrame, below: float) -> pd.Series:
    """Whether each finished run trained: done, with a train error below `below` percent; NA of others."""
    does = (runs["status"] == "done") & (pd.to_numeric(runs["train_error_eval"], errors="coerce") < below)
    return does.astype("boolean").mask(~runs["status"].isin(("done", "diverged")))


def tried(runs: pd.DataFrame, below: float) -> dict[tuple[str, int], dict[int, bool]]:
    """(network, seed) -> depth -> whether it trains, of the finished runs."""
    known = runs.assign(does=trains(runs, below)).dropna(subset=["does"])
    return {
        (network, int(seed)): dict(zip(group["depth"].astype(int), group["does"].astype(bool), strict=True))
        for (network, seed), group in known.groupby(["network", "seed"])
    }


def next_depth(depths: DepthRule | DepthList, trained: Mapping[int, bool], most: int) -> int | None:
    """`next_n` in depths of a family, given those tried; `most` is an n."""
    n = next_n({depths.n(depth): does for depth, does in trained.items()}, most)
    return None if n is None else depths.depth(n)


def frontiers(runs: pd.DataFrame, below: float) -> pd.DataFrame:
    """A row for each network and seed: the greatest depth that trains and the least above it that does not.

    Columns: network, seed; trains (NA where no depth tried does); fails (NA where every depth tried above the
    least that trains does: the frontier lies at `trains` or deeper); tried, how many depths were."""
    rows = []
    known = runs.assign(does=trains(runs, below)).dropna(subset=["does"])
    for (network, seed), group in known.groupby(["network", "seed"]):
        does = group["does"].astype(bool)
        least = group.loc[does, "depth"].min()  # NaN where none trains
        failing = group.loc[~does & ~(group["depth"] < least), "depth"].min()
        under = group[does & ~(group["depth"] > failing)]
        rows.append(
            {"network": network, "seed": seed, "trains": under["depth"].max(), "fails": failing}
            | {"tried": len(group)}
        )
    columns = ["network", "seed", "trains", "fails", "tried"]
    return pd.DataFrame(rows, columns=columns).astype({"trains": "Int64", "fails": "Int64"})


def summarise(found: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """A row a network: median (of two in the middle the lower, since not every depth is one), least and
    greatest frontier over the seeds of `frontiers` of `runs`.

    A seed with no depth that trains counts as 0; open says in how many seeds the deepest that was tried
    trained, so that the frontier may lie deeper; expected is the depth up to which mean-field theory expects
    the network to train, infinite or NaN where it names none. Columns: network, n, median, low, high, open,
    expected."""
    rows = []
    for network, group in found.groupby("network", sort=False):
        depths = group["trains"].fillna(0).to_numpy(float)
        median = float(np.quantile(depths, 0.5, method="lower"))
        row = {"network": network, "n": len(group), "median": median}
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


def count_open(runs: pd.DataFrame, below: float, deepest: int) -> int:
    """Of how many networks and seeds of `runs` a search up to `deepest` layers would try another depth.
    Networks of plug-ins that are not loaded, whose depths are not known, are left out."""
    known, found = tried(runs, below), 0
    for family, network, seed in set(runs[["family", "network", "seed"]].itertuples(index=False, name=None)):
        if family in NETWORKS:
            depths = NETWORKS[family].depths
            trained = known.get((network, seed), {})
            found += next_depth(depths, trained, most_n(depths, deepest)) is not None
    return found


def most_n(depths: DepthRule | DepthList, deepest: int) -> int:
    """The greatest n of a family's depths that is at most `deepest` layers; 0 where there is none."""
    n = 0
    while (depth := depths.depth(n + 1)) is not None and depth <= deepest:
        n += 1
    return n
