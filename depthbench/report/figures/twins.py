"""Twins in a figure: which networks belong together, and how they differ."""

from collections.abc import Sequence

import pandas as pd

DASHES: dict[str, tuple[float | None, ...]] = {
    "plain": (4, 2),
    "residual": (None, None),
}  # of twins that share a panel


def twins_of(twins: pd.DataFrame) -> dict[str, str]:
    """Map each network with exactly one twin to it. `twins` is `analysis.matching.match_twins`."""
    pairs = twins[["network", "twin"]].drop_duplicates()
    both = pd.concat([pairs, pairs.set_axis(["twin", "network"], axis=1)])
    counts = both["network"].value_counts()
    return {network: twin for network, twin in both.itertuples(index=False) if counts[network] == 1}


def group_twins(twins: pd.DataFrame, networks: Sequence[str]) -> list[dict[str, str]]:
    """Return the networks of each panel, name -> key of DASHES.

    Twins (`analysis.matching.match_twins`) share a panel if each has no other twin."""
    columns = {network: {network: "residual"} for network in networks}
    pairs = twins[["network", "twin"]].drop_duplicates()
    for plain, residual in pairs.itertuples(index=False):
        if columns.get(plain, {}).keys() == {plain} and columns.get(residual, {}).keys() == {residual}:
            columns[plain] = {plain: "plain", residual: "residual"}
            del columns[residual]
    return list(columns.values())
