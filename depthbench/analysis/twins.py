"""Decide which networks are twins: one plain and one residual, with the same weights.

A network is a row of `Results.runs`, as a dict. depthbench knows the twins of its own families. For a network
that `depthbench.watch` recorded, the caller states its twin."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from depthbench.networks import NETWORKS

STATED = ("watched.residual", "watched.twin")
"""Columns that hold what the caller of `watch` states. Results without such runs may lack them."""


SETTINGS = ("options.", "recipe.", "data.normalisation")
"""Prefixes of the columns of settings that twins share. All networks of a study share its other settings."""


def shared_settings(columns: Iterable[Any]) -> list[str]:
    """Return the columns that hold settings which twins share."""
    return [column for column in map(str, columns) if column.startswith(SETTINGS)]


def are_twins(plain: Mapping[str, Any], residual: Mapping[str, Any]) -> bool:
    """Return whether the second network is the first one with residual connections."""
    family = NETWORKS.get(plain["family"])
    if family is not None:
        return family.is_residual is False and family.twin == residual["family"]
    if is_residual(plain) is not False or is_residual(residual) is not True:
        return False
    return _stated(plain, "twin") == residual["network"] or _stated(residual, "twin") == plain["network"]


def is_residual(run: Mapping[str, Any]) -> bool | None:
    """Return whether a network has residual connections. None: unknown."""
    family = NETWORKS.get(run["family"])
    stated = _stated(run, "residual")
    if family is None:
        return None if stated is None else bool(stated)
    return family.is_residual


def _stated(run: Mapping[str, Any], column: str) -> Any:
    value = run.get(f"watched.{column}")
    return None if pd.isna(value) else value
