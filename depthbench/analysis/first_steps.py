"""How the ends and the middle of a network move in its first updates."""

import pandas as pd

from depthbench.analysis.layers import CLASSIFIER, by_layer

LAST = 100  # steps: where early weights grow by orders of magnitude, they have done most of it by then


def first_steps(layers: pd.DataFrame, column: str) -> pd.DataFrame:
    """`by_layer` of `column` for three layers of each network at its greatest depth, at the steps up to LAST.

    Added columns: place, `first` (layer 2, behind the one at the input), `middle` or `last` (before the
    classifier); order, 0 for the first of the steps that any network was probed at, 1 for the next, ..."""
    deepest = layers.groupby("network")["depth"].transform("max")
    early = layers[(layers["depth"] == deepest) & (layers["step"] <= LAST)]
    inner = early[early["stage"] != CLASSIFIER]
    places = [_places(group).assign(network=network) for network, group in inner.groupby("network")]
    if not places:
        return by_layer(early, column).assign(place=pd.Series(dtype=str), order=pd.Series(dtype=int))
    chosen = inner.merge(pd.concat(places), on=["network", "layer"])
    table = by_layer(chosen, column).merge(pd.concat(places), on=["network", "layer"])
    steps = sorted(table["step"].unique())
    return table.assign(order=table["step"].map(steps.index))


def _places(layers: pd.DataFrame) -> pd.DataFrame:
    """The three layers of one network: layer, place."""
    last = layers["layer"].max()
    first = min(2, last)
    return pd.DataFrame(
        {"layer": [first, (first + last) // 2, last], "place": ["first", "middle", "last"]}
    ).drop_duplicates("layer")
