"""Probes of transformers by block and sub-layer, and the gradient of the last block against the depth.

Xiong et al. 2020 (arXiv:2002.04745, theorem 1) bound the gradient of the last MLP's output map at
initialisation for L blocks: with pre-LN it is of order 1/sqrt(L), and with post-LN it does not depend on L.
The reason (lemma 2) is that with pre-LN the variance of the stream grows in proportion to the number of
blocks, and the last norm divides by the square root of this variance."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from depthbench.analysis.coordinates import slope_interval
from depthbench.analysis.protocol import settled_options
from depthbench.analysis.rows import rows_of
from depthbench.networks import NETWORKS
from depthbench.networks.options import draws_random_numbers, initial_scale

BLOCK = r"(?:^|\.)blocks\.(?P<block>\d+)\.(?P<sub_layer>[^.]+)(?:\.(?P<part>.+))?$"
"""Matches the name of a module in a block: the number of the block from 0, the sub-layer, and the rest."""

QUANTITIES = ("grad_norm_weight", "response_std", "branch_share", "attention_entropy")
GRADIENT = "grad_norm_weight"
LAST_MAP = "linear2"
"""The output map of an MLP, whose gradient theorem 1 of Xiong et al. 2020 bounds."""
PREDICTED = {"pre": -0.5, "post": 0.0}
"""Placement of the norm -> slope of the logarithm of that gradient against the logarithm of the depth."""
SOURCE = "Xiong et al. 2020, arXiv:2002.04745, theorem 1"
COLUMNS = ["network", "depth", "step", "quantity", "block", "sub_layer", "mean", "low", "high", "n"]


def of_blocks(layers: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `Results.layers` that are in a block of a network whose depth counts blocks.

    `layers` includes the modules that probes select. Adds block, counted from 1, sub_layer and part."""
    families = runs[["network", "family"]].drop_duplicates()
    counts_blocks = [
        family in NETWORKS and NETWORKS[family].depth_unit == "blocks" for family in families["family"]
    ]
    rows = layers[layers["network"].isin(families.loc[counts_blocks, "network"])]
    if rows.empty:
        return rows.assign(block=0, sub_layer="", part="")
    codes, names = pd.factorize(rows["name"])
    places = pd.Series(names).str.extract(BLOCK).iloc[codes].set_index(rows.index)
    rows = rows.assign(**places)[places["block"].notna()]
    return rows.assign(block=rows["block"].astype(int) + 1)


def by_sub_layer(layers: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return each of QUANTITIES by block and sub-layer, over seeds: COLUMNS.

    `layers` are the rows of `of_blocks`. The gradient of a sub-layer is the root of the sum of squares over
    its linear maps, and its response is that of its last map, which the branch adds. The mean is geometric
    for both, and arithmetic for share and entropy. low and high are the range over seeds. Values that are not
    finite, or not positive where the mean is geometric, are left out."""
    keys = ["network", "depth", "step", "block", "sub_layer"]
    tables = []
    for quantity in QUANTITIES:
        if quantity not in layers:
            continue
        known = layers[np.isfinite(layers[quantity].astype(float))]
        by_run = known.assign(value=known[quantity].astype(float)).groupby([*keys, "run_id"], sort=True)
        if quantity == GRADIENT:
            values = by_run["value"].agg(lambda maps: np.sqrt(np.square(maps).sum()))
        else:
            values = by_run["value"].last()
        is_log = quantity in ("grad_norm_weight", "response_std")
        values = np.log(values[values > 0]) if is_log else values
        table = values.groupby(keys).agg(mean="mean", low="min", high="max", n="count").reset_index()
        if is_log:
            table[["mean", "low", "high"]] = np.exp(table[["mean", "low", "high"]])
        tables.append(table.assign(quantity=quantity))
    return pd.concat(tables, ignore_index=True)[COLUMNS] if tables else pd.DataFrame(columns=COLUMNS)


def last_block_slopes(layers: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return how the gradient of the last block at initialisation changes with the number of blocks.

    `layers` are the rows of `of_blocks`, `runs` is `Results.runs`. A row for each network with at least two
    depths. Columns: network; placement; depths, how many; n, seeds; slope, of the logarithm of the gradient
    of LAST_MAP at step 0 against the logarithm of the depth, fitted for each seed; low and high, its 95 %
    interval (Student's t over seeds); predicted, NaN if no theorem applies; source."""
    columns = ["network", "placement", "depths", "n", "slope", "low", "high", "predicted", "source"]
    if GRADIENT not in layers:
        return pd.DataFrame(columns=columns)
    is_last = (layers["step"] == 0) & (layers["block"] == layers["depth"])
    is_map = (layers["sub_layer"] == "mlp") & (layers["part"] == LAST_MAP)
    gradients = layers[is_last & is_map]
    gradients = gradients[np.isfinite(gradients[GRADIENT].astype(float)) & (gradients[GRADIENT] > 0)]
    rows = []
    for network, of_network in gradients.groupby("network", sort=False):
        slopes = [
            np.polyfit(np.log(of_seed["depth"]), np.log(of_seed[GRADIENT].astype(float)), 1)[0]
            for _, of_seed in of_network.groupby("seed")
            if of_seed["depth"].nunique() > 1
        ]
        if not slopes:
            continue
        slope, low, high = slope_interval(np.array(slopes))
        rows.append(
            {
                "network": network,
                **_prediction(runs[runs["network"] == network]),
                "depths": of_network["depth"].nunique(),
                "n": len(slopes),
                "slope": slope,
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(rows, columns=columns)


def _prediction(runs: pd.DataFrame) -> dict[str, Any]:
    """Return placement, predicted slope and source for the runs of one network."""
    options = [settled_options(run) for run in rows_of(runs)]
    placements = {each["placement"] for each in options}
    placement = placements.pop() if len(placements) == 1 else "several"
    if not NETWORKS[runs["family"].iloc[0]].is_residual:
        return {"placement": f"{placement}, no shortcut", "predicted": np.nan, "source": ""}
    holds = all(
        _is_standard(each, depth) for each, depth in zip(options, runs["depth"].tolist(), strict=True)
    )
    predicted = PREDICTED.get(placement, np.nan) if holds else np.nan
    source = SOURCE if np.isfinite(predicted) else ""
    return {"placement": placement, "predicted": predicted, "source": source}


def _is_standard(options: Mapping[str, Any], depth: int) -> bool:
    """Return whether a residual transformer with these options meets the assumptions of the theorem."""
    scale = options["branch_scale"] * initial_scale(options["learned_scale"], depth)
    is_scaled = scale != 1 or options["depth_alpha"] != 0
    kinds = (options["init"], options["token_norm"], options["activation"])
    return kinds == ("xavier", "layer", "relu") and not is_scaled and not draws_random_numbers(options)
