"""Number the layers of a network alike in all its runs.

Older versions numbered the layers of some plug-ins' networks in the order of registration. This version
numbers them in the order of use, as far as the probed steps of a run show it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from depthbench.networks import NETWORKS
from depthbench.probes.columns import RESERVED, SELECTED_BY, USE

if TYPE_CHECKING:
    import pandas as pd

GIVEN = ["layer", "stage"]  # columns that depend on the order of layers


def numbered_alike(layers: "pd.DataFrame", rows: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    """Return `Results.layers` with one number and stage for each layer of a network and depth.

    If runs with the same layers differ, those of the run that measured most layers are used, because only
    layers that were used show their order. Among equal runs, one whose record says how it numbers layers
    comes first, and then the highest seed. Networks of depthbench are left as they are. `rows` are those of
    `read_runs`."""
    own = {row["run_id"]: row.get("layer_order") is not None for row in rows if not _is_ours(row)}
    candidates = layers[layers["run_id"].isin(own)] if own and len(layers) else layers.iloc[:0]
    if candidates.empty:
        return layers
    candidates = candidates[_is_whole_layer(candidates)]
    first = candidates[candidates["step"] == candidates.groupby("run_id")["step"].transform("min")]
    measured = _measured_layers(candidates)
    by_evidence = sorted(
        first[["run_id", "seed"]].drop_duplicates().itertuples(index=False, name=None),
        key=lambda run: (measured[run[0]], own[run[0]], run[1]),
        reverse=True,
    )
    tables = dict(list(first.groupby("run_id")))
    references: dict[Any, pd.DataFrame] = {}  # network, depth and layers -> their numbers and stages
    changes: dict[Any, pd.DataFrame] = {}
    for run, _ in by_evidence:
        given = tables[run].set_index("name")[GIVEN]
        key = (*tables[run][["network", "depth"]].iloc[0], frozenset(given.index))
        reference = references.setdefault(key, given).loc[given.index]
        if not given.equals(reference):
            changes[run] = reference.set_index(given["layer"])
    return _renumbered(layers, changes) if changes else layers


def _is_ours(row: Mapping[str, Any]) -> bool:
    return row["family"] in NETWORKS and NETWORKS[row["family"]].is_ours


def _measured_layers(layers: "pd.DataFrame") -> "pd.Series":
    """Return how many layers have a value in some step: run_id -> number.

    Older versions did not tell what is not measured from NaN, so NaN is no value here."""
    has_value = layers[[column for column in layers if column not in RESERVED]].notna().any(axis=1)
    return layers["name"].where(has_value).groupby(layers["run_id"]).nunique()


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
