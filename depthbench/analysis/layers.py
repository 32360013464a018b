"""Probe values by layer, over the seeds of each network and depth."""

import math
from collections.abc import Collection

import numpy as np
import pandas as pd

from depthbench.analysis.dropping import dropped
from depthbench.analysis.intervals import NO_BOUNDS
from depthbench.analysis.summary import over_seeds
from depthbench.networks import NETWORKS
from depthbench.probes.columns import NOT_MEASURED, SELECTED_BY, USE

CLASSIFIER = "fc"  # the stage of the classifier
KEYS = ["network", "depth", "step", "layer"]
START = 10  # updates within which a zero-initialised branch receives its first gradient
KINDS = ["zeros", "infinite", "minus_infinite", "nans", "unmeasured"]
"""Columns of `by_layer`: the counts of values that a log axis cannot show."""


def by_layer(layers: pd.DataFrame, column: str, *, is_log: bool = True) -> pd.DataFrame:
    """Return the mean of `column` over seeds for each network, depth, step and layer.

    `layers` is `Results.layers`: runs of any status count for the steps at which they were probed. The mean
    is geometric, or arithmetic without `is_log`. Columns:
    - the four keys; position, 0 at the input and 1 at the output;
    - mean: 0 if `is_log` and some seed is 0; NaN if some seed is infinite or not a number, or if no seed was
      measured;
    - low and high, the lowest and highest finite value (only positive values, if `is_log`);
    - n, the number of seeds probed;
    - zeros (if `is_log`), infinite, minus_infinite, nans and unmeasured, the numbers of seeds whose value is
      exactly 0, infinity, minus infinity, measured but not a number, and not measured.
    """
    codes, networks = pd.factorize(layers["network"], sort=True)
    columns = [*KEYS, column, *({NOT_MEASURED} & set(layers))]
    parts = [  # one network at a time, because all layers of a large study take much memory
        _of_network(layers[columns].iloc[np.flatnonzero(codes == code)], column, is_log)
        for code in range(len(networks))
    ]
    return pd.concat(parts, ignore_index=True) if parts else _of_network(layers[columns], column, is_log)


def _of_network(layers: pd.DataFrame, column: str, is_log: bool) -> pd.DataFrame:
    """Return `by_layer` of one network."""
    values = layers[column].astype(float)
    usable = np.isfinite(values) & ((values > 0) | (not is_log))
    unmeasured = was_not_measured(layers, column)
    frame = layers[KEYS].assign(
        value=np.log(values.where(usable)) if is_log else values.where(usable),
        n=1,
        zeros=(values == 0) & is_log,
        infinite=np.isposinf(values),
        minus_infinite=np.isneginf(values),
        nans=values.isna() & ~unmeasured,
        unmeasured=unmeasured,
    )
    table = frame.groupby(KEYS)["value"].agg(["mean", "min", "max"])
    table = (table.apply(np.exp) if is_log else table).rename(columns={"min": "low", "max": "high"})
    table = table.join(frame.groupby(KEYS)[["n", *KINDS]].sum()).reset_index()
    table["mean"] = _masked(table, is_log)
    deepest = table.groupby(["network", "depth"])["layer"].transform("max")
    table.insert(len(KEYS), "position", (table["layer"] - 1) / np.maximum(deepest - 1, 1))
    return table


def _masked(table: pd.DataFrame, is_log: bool = True) -> pd.Series:
    """Return the column `mean` of `by_layer`, with its exceptions for 0, infinite and not a number."""
    means = table["mean"].mask(table["zeros"] > 0, 0.0) if is_log else table["mean"]
    return means.mask(table[["infinite", "minus_infinite", "nans"]].sum(axis=1) > 0)


def was_not_measured(layers: pd.DataFrame, column: str) -> pd.Series:
    """Return, for each row of `Results.layers`, whether the probe `column` was not measured.

    Every other NaN of the probe was measured."""
    if NOT_MEASURED not in layers:
        return pd.Series(False, layers.index)
    codes, lists = pd.factorize(layers[NOT_MEASURED])
    has_column = np.array(
        [column in names.split(",") for names in lists] + [False]
    )  # the last one is for code -1, a missing list
    return pd.Series(has_column[codes] & layers[column].isna().to_numpy(), layers.index)


def with_values(layers: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the rows of `Results.layers` with a value of the probe `column`.

    If all values of the probe are NaN, these are the rows in which it was measured."""
    if column not in layers:
        return layers.iloc[:0]
    is_number = layers[column].notna()
    return layers[is_number if is_number.any() else ~was_not_measured(layers, column)]


def of_weighted_layers(layers: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `Results.layers` for weighted layers, each over all its uses.

    Leaves out rows of single uses, and of modules and parameters that a probe selects."""
    return layers[~_is_selected(layers) & ~_is_single_use(layers)] if _has_others(layers) else layers


def of_probe(layers: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the rows of `Results.layers` that the probe `column` measures.

    If it selects modules or parameters, these are their rows, and `layer` counts them from 1. Otherwise they
    are the rows of weighted layers."""
    if not _has_others(layers) or SELECTED_BY not in layers:
        return of_weighted_layers(layers)
    codes, lists = pd.factorize(layers[SELECTED_BY])
    is_selected = np.array([column in names.split(",") for names in lists] + [False])[codes]
    if not is_selected.any():
        return of_weighted_layers(layers)
    rows = layers[is_selected]
    ranks = rows.groupby(["network", "depth", "run_id"])["layer"].rank(method="dense")
    return rows.assign(layer=ranks.astype(int))


def _has_others(layers: pd.DataFrame) -> bool:
    return SELECTED_BY in layers or USE in layers


def _is_selected(layers: pd.DataFrame) -> pd.Series:
    if SELECTED_BY not in layers:
        return pd.Series(False, layers.index)
    return layers[SELECTED_BY].fillna("") != ""


def _is_single_use(layers: pd.DataFrame) -> pd.Series:
    return layers[USE].notna() if USE in layers else pd.Series(False, layers.index)


def zero_classifiers(runs: pd.DataFrame) -> set[str]:
    """Return the networks in `Results.runs` whose classifier begins at zero, as in Fixup."""
    families = runs[["network", "family"]].drop_duplicates()
    known = {name for name, family in NETWORKS.items() if family.zero_classifier}
    return set(families.loc[families["family"].isin(known), "network"])


def with_zeros_by_design(
    table: pd.DataFrame, layers: pd.DataFrame, column: str, runs: pd.DataFrame
) -> pd.DataFrame:
    """Return `table`, of `by_layer` for a gradient `column`, with the columns dropped and by_design (bool).

    dropped: every seed probed dropped the layer in this step (see `dropping`). by_design: the gradient is
    zero by design, because of that or at the start (see `zeros_by_design`). Seeds that dropped a layer which
    others kept are left out of mean and zeros. `layers` and `runs` are those of `Results`."""
    zeros = zeros_by_design(layers, column, zero_classifiers(runs))
    table = without_dropped(table, layers, column, runs)
    merged = table.merge(zeros, how="left", on=KEYS)
    at_start = merged["by_design"].eq(True) & (merged["zeros"] > 0)
    return merged.assign(by_design=at_start | merged["dropped"])


def without_dropped(
    table: pd.DataFrame, layers: pd.DataFrame, column: str, runs: pd.DataFrame, *, is_log: bool = True
) -> pd.DataFrame:
    """Return `table`, of `by_layer`, with mean and zeros of the layers that are not dropped (see `dropping`).

    The added column dropped (bool) says where every probed seed dropped the layer. In these rows, mean and
    zeros stay as they are. `layers` and `runs` are those of `Results`."""
    is_dropped = dropped(layers, column, runs)
    if not is_dropped.any():
        return table.assign(dropped=False)
    places = layers.loc[is_dropped, KEYS].drop_duplicates()
    kept = by_layer(layers[~is_dropped].merge(places, on=KEYS), column, is_log=is_log)
    kept = kept[[*KEYS, "mean", "zeros"]]
    others = table[KEYS].merge(places.merge(kept, how="left", on=KEYS), how="left", on=KEYS, indicator=True)
    has_others = others["zeros"].notna()
    table = table.reset_index(drop=True)
    return table.assign(
        mean=table["mean"].mask(has_others, others["mean"]),
        zeros=table["zeros"].mask(has_others, others["zeros"]).astype(int),
        dropped=(others["_merge"] == "both") & ~has_others,
    )


def zeros_by_design(
    layers: pd.DataFrame, column: str, zero_classifiers: Collection[str] = ()
) -> pd.DataFrame:
    """Return the layers and steps whose gradient `column` is zero at the start by design.

    Such are the layers of zero-initialised branches. From step 0 to a step of at most START, the gradient is
    exactly 0 in every seed. At step 0 a layer nearer to the input has a gradient, which must have passed
    around this one, or the network is one of `zero_classifiers`. The gradient arrives at the next probed
    step, if a step after START was probed. Columns: the four keys of `by_layer`; by_design, True."""
    keys = ["network", "depth", "layer"]
    measured = layers.loc[layers[column].notna(), [*KEYS, column]]
    largest = measured.groupby(KEYS)[column].max().rename("value").reset_index()  # sorted
    start = largest[largest["step"] == 0]
    nearer = start.groupby(["network", "depth"])["value"].cummax()  # up to this layer, from the input on
    passes = (start["value"] == 0) & ((nearer > 0) | start["network"].isin(zero_classifiers))
    rows = largest.merge(start.loc[passes, keys], on=keys)
    rows["before"] = rows.groupby(keys)["value"].cummax()
    ends = rows.groupby(keys).agg(last=("step", "max"), arrives=("value", "max")).reset_index()
    zeros = rows.loc[rows["before"] == 0, KEYS].merge(ends, on=keys)
    last_zero = zeros.groupby(keys)["step"].transform("max")
    is_soon = (last_zero <= START) & ((zeros["arrives"] > 0) | (zeros["last"] <= START))
    return zeros.loc[is_soon, KEYS].assign(by_design=True)


def fewer_seeds(table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the networks and depths for which some step of `table` (of `by_layer`) lacks seeds of `runs`.

    Columns: network, depth; n, the smallest number of seeds probed at a step; stored, the number of runs."""
    keys = ["network", "depth"]
    probed = table.groupby(keys, as_index=False)["n"].min()
    stored = runs.groupby(keys, as_index=False).size().rename(columns={"size": "stored"})
    probed = probed.merge(stored, on=keys)
    return probed[probed["n"] < probed["stored"]].reset_index(drop=True)


def chosen_steps(layers: pd.DataFrame, count: int) -> list[int]:
    """Return at most `count` probed steps: the first, the last, and evenly spaced ones in between."""
    steps = sorted(layers["step"].unique())
    indices = np.linspace(0, len(steps) - 1, min(count, len(steps))).round().astype(int)
    return [int(steps[index]) for index in indices]


def summarise_responses(layers: pd.DataFrame) -> pd.DataFrame:
    """Summarise the standard deviation of layer responses at the last probed step, without the classifier.

    One row per network and depth. The value of a run is its median over layers. Columns: network, depth; n,
    the number of seeds; mean, low and high (its 95 % interval), min and max of the runs' values; least and
    greatest, the extremes over all layers and seeds."""
    if "response_std" not in layers:
        return pd.DataFrame(columns=["network", "depth"])
    known = np.isfinite(layers["response_std"].astype(float))
    keys = ["network", "depth"]
    columns = [*keys, "run_id", "step", "response_std"]
    hidden = last_step(layers.loc[(layers["stage"] != CLASSIFIER) & known, columns])
    runs = hidden.groupby([*keys, "run_id"], as_index=False)[["response_std"]].median()
    ends = hidden.groupby(keys)["response_std"].agg(least="min", greatest="max").reset_index()
    return over_seeds(runs, keys, "response_std", NO_BOUNDS).merge(ends, on=keys)


def thinned(line: pd.DataFrame, most: int) -> pd.DataFrame:
    """Reduce the rows of `by_layer` for one network, depth and step to about `most` or fewer.

    Neighbouring layers are merged into their geometric mean, an even number at a time, because the two layers
    of a block may differ more than two blocks do. Layers that all seeds dropped are left out of the mean,
    unless all of the neighbours are dropped."""
    if len(line) <= most:
        return line
    values = ["mean", "low", "high"]
    merged = {"n": "min"} | dict.fromkeys(KINDS, "max")
    merged |= dict.fromkeys(["layer", "position", *values], "mean")
    how = {column: merged.get(str(column), "first") for column in line}
    size = 2 * math.ceil(len(line) / most / 2)
    logs = line.copy()
    logs[values] = line[values].where(line[values] > 0).apply(np.log)
    if "by_design" in line:  # merged layers are if all zeros among them are
        logs["by_design"] = line["by_design"] | (line["zeros"] == 0)
        how["by_design"] = "min"
    merges = (line["layer"] - 1) // size
    places = logs.groupby(merges)[["layer", "position"]].mean()
    if "dropped" in line:
        logs = logs[~line["dropped"] | line.groupby(merges)["dropped"].transform("all")]
    rows = logs.groupby(merges).agg(how).assign(**places).reset_index(drop=True)
    rows[values] = rows[values].apply(np.exp)
    rows["mean"] = _masked(rows)
    if "by_design" in line:
        rows["by_design"] &= rows["zeros"] > 0
    return rows


def last_step(layers: pd.DataFrame, is_known: pd.Series | None = None) -> pd.DataFrame:
    """Return the rows of each network and depth at the last step probed in any seed.

    With `is_known`, only steps count at which it is true for some layer."""
    steps = layers["step"] if is_known is None else layers["step"].where(is_known)
    last = steps.groupby([layers["network"], layers["depth"]]).transform("max")
    return layers[layers["step"] == last]


def sorted_layers(layers: pd.DataFrame, column: str) -> pd.DataFrame:
    """Replace `layer` by its rank within its run and step; rank 1 has the largest `column`."""
    groups = layers.groupby(["run_id", "step"])[column]
    rank = groups.rank(ascending=False, method="first", na_option="bottom")
    return layers.assign(layer=rank.astype(int))
