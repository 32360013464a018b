"""Change of early, middle and late layers during the first updates."""

import pandas as pd

from depthbench.analysis.layers import CLASSIFIER, by_layer

LAST = 100  # steps; weights that explode early grow most within these steps


def first_steps(layers: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return `by_layer` of `column` for three layers of each network's deepest depth, up to step LAST.

    Added columns: which_layer, `first` (layer 2, the one after the input layer), `middle` or `last` (before
    the classifier); order, the index of the step among the steps returned."""
    deepest = layers.groupby("network")["depth"].transform("max")
    early = layers[(layers["depth"] == deepest) & (layers["step"] <= LAST)]
    inner = early[early["stage"] != CLASSIFIER]
    three_layers = [
        _three_layers(group).assign(network=network) for network, group in inner.groupby("network")
    ]
    if not three_layers:
        return by_layer(early, column).assign(which_layer=pd.Series(dtype=str), order=pd.Series(dtype=int))
    chosen = inner.merge(pd.concat(three_layers), on=["network", "layer"])
    table = by_layer(chosen, column).merge(pd.concat(three_layers), on=["network", "layer"])
    steps = sorted(table["step"].unique())
    return table.assign(order=table["step"].map(steps.index))


def _three_layers(layers: pd.DataFrame) -> pd.DataFrame:
    """Return three layers of one network. Columns: layer, which_layer (first, middle or last)."""
    last = layers["layer"].max()
    first = min(2, last)
    return pd.DataFrame(
        {"layer": [first, (first + last) // 2, last], "which_layer": ["first", "middle", "last"]}
    ).drop_duplicates("layer")
