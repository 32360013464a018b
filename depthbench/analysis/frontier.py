"""The frontier: the deepest depth at which a network still trains, for each seed, found by bisection.

A depth is described by its n, which is 1 for the shallowest depth of its family (e.g. depth 6n + 2). The
first depths can be too shallow to fit the data, so the search looks for the frontier above the shallowest
depth that trains. There it assumes that deeper networks train worse. If a network fails at one depth but
trains at a deeper one, the search ends at the first frontier that it meets."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from depthbench.analysis.rows import rows_of
from depthbench.analysis.theory import TRAINABLE, depth_scale
from depthbench.networks import NETWORKS, DepthList, DepthRule
from depthbench.store.record import FINISHED

FIRST = (1, 2, 4, 8)  # n; if none of these trains, no deeper network is tried


def next_n(trains: Mapping[int, bool], most: int) -> int | None:
    """Return the n to try next, or None once the frontier is known.

    `trains` maps each n tried so far to whether it trains. The search tries the values of FIRST until one
    trains. Then it doubles n, up to `most`, as long as every n trains. Then it bisects between the largest n
    that trains and the smallest n above it that does not."""
    shallowest = min((n for n, does in trains.items() if does), default=None)
    if shallowest is None:
        return next((n for n in (min(n, most) for n in FIRST) if n not in trains), None)
    failing = min((n for n, does in trains.items() if not does and n > shallowest), default=None)
    training = max(n for n, does in trains.items() if does and (failing is None or n < failing))
    if failing is None:
        return min(2 * training, most) if training < most else None
    return (training + failing) // 2 if failing - training > 1 else None


def trains(runs: pd.DataFrame, below: float) -> pd.Series:
    """Return whether each run trained: True or False for finished runs, NA for others.

    A run trained if it is done and its train error is below `below` percent."""
    does = (runs["status"] == "done") & (pd.to_numeric(runs["train_error_eval"], errors="coerce") < below)
    return does.astype("boolean").mask(~runs["status"].isin(FINISHED))


def tried(runs: pd.DataFrame, below: float) -> dict[tuple[str, int], dict[int, bool]]:
    """Return (network, seed) -> depth -> whether it trains, from finished runs."""
    known = runs.assign(does=trains(runs, below)).dropna(subset=["does"])
    return {
        (group["network"].iloc[0], int(group["seed"].iloc[0])): dict(
            zip(group["depth"].astype(int), group["does"].astype(bool), strict=True)
        )
        for _, group in known.groupby(["network", "seed"])
    }


def next_depth(depths: DepthRule | DepthList, trained: Mapping[int, bool], most: int) -> int | None:
    """Return the depth to try next, or None once the frontier is known (see `next_n`).

    `trained` maps each depth tried so far to whether it trains. `most` is the largest n to try."""
    n = next_n({depths.n(depth): does for depth, does in trained.items()}, most)
    return None if n is None else depths.depth(n)


def frontiers(runs: pd.DataFrame, below: float) -> pd.DataFrame:
    """Return a row for each network and seed, with its frontier.

    Columns: network; seed; trains, the deepest depth that trains (NA if none does); fails, the next depth
    tried, which does not train (NA if no deeper depth was tried, in which case the frontier may be deeper);
    tried, the number of depths tried."""
    rows = []
    known = runs.assign(does=trains(runs, below)).dropna(subset=["does"])
    for (network, seed), group in known.groupby(["network", "seed"]):
        does = group["does"].astype(bool)
        shallowest = group.loc[does, "depth"].min()  # NaN if none trains
        failing = group.loc[~does & ~(group["depth"] < shallowest), "depth"].min()
        below_failing = group[does & ~(group["depth"] > failing)]
        rows.append(
            {"network": network, "seed": seed, "trains": below_failing["depth"].max(), "fails": failing}
            | {"tried": len(group)}
        )
    columns = ["network", "seed", "trains", "fails", "tried"]
    return pd.DataFrame(rows, columns=columns).astype({"trains": "Int64", "fails": "Int64"})


def summarise(by_seed: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each network from `by_seed`, the `frontiers` of `runs`.

    Columns: network; n, the number of seeds; median, low and high, the median, shallowest and deepest
    frontier over seeds, where a seed without a depth that trains counts as 0; open, the number of seeds that
    trained at the maximum depth tested, whose limit may be deeper; expected, the depth up to which mean-field
    theory expects the network to train (infinite if it expects no limit, NaN if it has no prediction). For an
    even number of seeds, the median is the lower of the two middle values, because their mean need not be a
    depth of the family."""
    rows = []
    for network, group in by_seed.groupby("network", sort=False):
        depths = group["trains"].fillna(0).to_numpy(float)
        median = float(np.quantile(depths, 0.5, method="lower"))
        row = {"network": network, "n": len(group), "median": median}
        rows.append(
            row
            | {"low": depths.min(), "high": depths.max(), "open": int(group["fails"].isna().sum())}
            | {"expected": TRAINABLE * depth_scale(rows_of(runs[runs["network"] == network].head(1))[0])}
        )
    return pd.DataFrame(rows, columns=["network", "n", "median", "low", "high", "open", "expected"])


class Search(NamedTuple):
    """The result of a search."""

    below: float
    """A run trains if its train error (percent) is below this."""
    frontiers: pd.DataFrame
    """A row for each network and seed."""
    summary: pd.DataFrame
    """A row for each network."""


def searched(runs: pd.DataFrame) -> Search | None:
    """Return the result of the search that made `runs`; None without a search or a finished run."""
    bounds = runs["frontier.below"].dropna()
    if bounds.empty:
        return None
    by_seed = frontiers(runs, bounds.iloc[0])
    return None if by_seed.empty else Search(bounds.iloc[0], by_seed, summarise(by_seed, runs))


def count_open(runs: pd.DataFrame, below: float, deepest: int) -> int:
    """Count the networks and seeds of `runs` for which a search up to `deepest` layers is not finished.

    Omits networks of plug-ins that are not loaded, because their depths are unknown."""
    known, count = tried(runs, below), 0
    for family, network, seed in set(runs[["family", "network", "seed"]].itertuples(index=False, name=None)):
        if family in NETWORKS:
            depths = NETWORKS[family].depths
            trained = known.get((network, seed), {})
            count += next_depth(depths, trained, most_n(depths, deepest)) is not None
    return count


def most_n(depths: DepthRule | DepthList, deepest: int) -> int:
    """Return the largest n with a depth of at most `deepest` layers, or 0 if every depth is deeper."""
    n = 0
    while (depth := depths.depth(n + 1)) is not None and depth <= deepest:
        n += 1
    return n
