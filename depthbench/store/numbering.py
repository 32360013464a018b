"""Number the layers of a network alike in all its runs.

Older versions numbered the layers of some plug-ins' networks in the order of registration. This version
numbers them in the order of use."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from depthbench.networks import NETWORKS
from depthbench.probes.columns import SELECTED_BY, USE

if TYPE_CHECKING:
    import pandas as pd

GIVEN = ["layer", "stage"]  # columns that depend on the order of layers


def numbered_alike(layers: "pd.DataFrame", rows: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    """Return `Results.layers` with one number and stage for each layer of a network and depth.

    If runs with the same layers differ, the numbers of the highest seed are used, because higher seeds are
    mostly trained later. Networks of depthbench are left as they are. `rows` are those of `read_runs`."""
    own = [row["run_id"] for row in rows if not _is_ours(row)]
    candidates = layers[layers["run_id"].isin(own)] if own and len(layers) else layers.iloc[:0]
    if candidates.empty:
        return layers
    first = candidates[candidates["step"] == candidates.groupby("run_id")["step"].transform("min")]
    changes: dict[Any, pd.DataFrame] = {}
    for _, network in first[_is_whole_layer(first)].sort_values("seed").groupby(["network", "depth"]):
        runs = {run: part.set_index("name")[GIVEN] for run, part in network.groupby("run_id", sort=False)}
        last = list(runs.values())[-1]
        for run, given in runs.items():
            if set(given.index) == set(last.index) and not given.equals(last.loc[given.index]):
                changes[run] = last.loc[given.index].set_index(given["layer"])
    return _renumbered(layers, changes) if changes else layers


def _is_ours(row: Mapping[str, Any]) -> bool:
    return row["family"] in NETWORKS and NETWORKS[row["family"]].is_ours


def _is_whole_layer(layers: "pd.DataFrame") -> "pd.Series":
    """Return which rows are of weighted layers, each over all its uses."""
    is_whole = layers["layer"].notna()
    for column in {SELECTED_BY, USE} & set(layers):
        is_whole &= layers[column].isna() | (layers[column] == "")
    return is_whole


def _renumbered(layers: "pd.DataFrame", changes: "Mapping[Any, pd.DataFrame]") -> "pd.DataFrame":
    """Return `layers` with other numbers in some runs: run_id -> (number -> layer, stage)."""
    import numpy as np

    layers, order = layers.copy(), np.arange(len(layers))
    for run, given in changes.items():
        is_own = layers["run_id"] == run
        if SELECTED_BY in layers:
            is_own &= layers[SELECTED_BY].isna() | (layers[SELECTED_BY] == "")
        numbers = layers.loc[is_own, "layer"]
        for column in GIVEN:
            layers.loc[is_own, column] = numbers.map(given[column])
        (places,) = np.nonzero(is_own)
        own = layers.iloc[places]
        order[places] = places[np.lexsort((own["layer"], ~_is_whole_layer(own), own["step"]))]
    return layers.iloc[order].reset_index(drop=True)
