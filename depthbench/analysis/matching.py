"""Checks that the twins of a study have equal parameters, initial weights and batches in the same order."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from depthbench.analysis.rows import rows_of
from depthbench.analysis.twins import are_twins, shared_settings
from depthbench.networks import NETWORKS


def match_twins(runs: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each depth and seed for which both twins are stored with equal recipes and options.

    Columns: depth, seed, network and twin; parameters, initial_weights and batches, whether the number of
    parameters, the initial weights, and the images of each batch and their order are equal (NA if not
    recorded for both); batches_compared, the number of updates over which the batches were compared: all
    updates, or those up to the last one that both logged."""
    rows = []
    settings = shared_settings(runs)
    stored = rows_of(runs)
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}  # by family and what twins have in common
    matches = [tuple(repr(run[key]) for key in ("depth", "seed", *settings)) for run in stored]
    for run, match in zip(stored, matches, strict=True):
        alike.setdefault((run["family"], *match), []).append(run)
    for first, second in _pairs(stored):
        for run, match in zip(stored, matches, strict=True):
            for other in alike.get((second, *match), ()) if run["family"] == first else ():
                batches, steps = _same_batches(run, other, history)
                rows.append(
                    {
                        "depth": run["depth"],
                        "seed": run["seed"],
                        "network": run["network"],
                        "twin": other["network"],
                        "parameters": _same(run["parameters"], other["parameters"]),
                        "initial_weights": _same(run["initial_weights_hash"], other["initial_weights_hash"]),
                        "batches": batches,
                        "batches_compared": steps,
                    }
                )
    kinds = {"parameters": "boolean", "initial_weights": "boolean", "batches": "boolean"}
    columns = ["depth", "seed", "network", "twin", *kinds, "batches_compared"]
    return pd.DataFrame(rows, columns=columns).astype(kinds | {"batches_compared": "Int64"})


def _pairs(runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return every pair of twins once: families in the order of NETWORKS, then networks that runs state."""
    order = list(NETWORKS).index
    pairs = {frozenset((name, family.twin)) for name, family in NETWORKS.items() if family.twin in NETWORKS}
    known = sorted((tuple(sorted(pair, key=order)) for pair in pairs), key=lambda pair: [*map(order, pair)])
    others = {run["network"]: run for run in runs if run["family"] not in NETWORKS}.values()
    stated = [(a["family"], b["family"]) for a in others for b in others if are_twins(a, b)]
    return [*known, *stated]


def _same(one: Any, other: Any) -> Any:
    """Return whether two recorded values are equal; NA if either is missing."""
    return pd.NA if pd.isna(one) or pd.isna(other) else bool(one == other)


def _same_batches(run: Mapping[str, Any], other: Mapping[str, Any], history: pd.DataFrame) -> tuple[Any, Any]:
    """Return whether the batches agree, and over how many updates they could be compared."""
    if _same(run["step"], other["step"]) is True:
        return _same(run["batches_hash"], other["batches_hash"]), run["step"]
    if "batch_hash" not in history:
        return pd.NA, pd.NA
    of_run, of_other = (
        history.loc[history["run_id"] == r["run_id"]].set_index("step")["batch_hash"] for r in (run, other)
    )
    common = of_run.index.intersection(of_other.index)
    if common.empty:
        return pd.NA, pd.NA
    step = common.max()
    return _same(of_run[step], of_other[step]), step
