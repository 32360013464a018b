"""Layers without a gradient because stochastic depth or drop-path left them out of a step."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

from depthbench.analysis.protocol import settled_options
from depthbench.analysis.rows import rows_of
from depthbench.networks import NETWORKS


def drops(run: Mapping[str, Any]) -> Literal["branches", "columns"] | None:
    """Return what a run leaves out of a step at random, if anything. `run` is a row of `Results.runs`.

    Branches are those of stochastic depth, which a shortcut passes around. Columns are those of a fractal
    network."""
    family = NETWORKS.get(run.get("family", ""))
    if family is None or not family.is_ours:
        return None
    options = settled_options(run)
    if options["drop_path"]:
        return "columns"
    return "branches" if options["survival"] < 1 else None


def dropped(layers: pd.DataFrame, column: str, runs: pd.DataFrame) -> pd.Series:
    """Return, for each row of `Results.layers`, whether its gradient `column` is 0 because it was dropped.

    In a run that drops branches, a layer nearer to the input has a gradient in this step, which has passed
    around the branch. `runs` is `Results.runs`."""
    zeros = layers.loc[layers[column] == 0, ["run_id"]].drop_duplicates()
    kinds = {run["run_id"]: drops(run) for run in rows_of(runs.merge(zeros, on="run_id"))}
    kind = layers["run_id"].map(kinds).to_numpy()
    is_dropped = (layers[column] == 0).to_numpy() & (kind == "columns")
    places = np.flatnonzero(kind == "branches")
    rows = layers[["run_id", "step", "layer", column]].iloc[places].reset_index(drop=True)
    rows["arrives"] = rows[column] > 0
    nearer = rows.sort_values("layer").groupby(["run_id", "step"])["arrives"].cummax()  # up to this layer
    is_dropped[places] = (rows[column] == 0) & nearer
    return pd.Series(is_dropped, layers.index)
