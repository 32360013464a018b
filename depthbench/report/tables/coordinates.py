"""The verdicts of the coordinate check: do activations and their change depend on the depth?"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from depthbench.analysis.coordinates import LEAST_SEEDS, MARGIN, judge_coordinates
from depthbench.analysis.rows import rows_of
from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence
from depthbench.report.tables.formatting import interval, signed

NOTE = (
    "The slope is that of the logarithm of the root mean square against the logarithm of the number of "
    "residual blocks, on a fixed batch, with its 95 % interval (Student's t over seeds). The size is that "
    "before training, and the change is the difference to it after some updates. A quantity is flat if the "
    f"interval lies between -{MARGIN:g} and {MARGIN:g}. It grows or shrinks if the interval excludes 0 and "
    f"the slope is at least {MARGIN:g} in absolute value. Otherwise, with fewer than {LEAST_SEEDS} seeds, or "
    "if an activation is not finite or is zero, the verdict is inconclusive. A slope of "
    f"{MARGIN:g} means that 16 times as many blocks double the quantity. If one learning rate is to suit all "
    "depths, size and change must be flat, but this is not sufficient. The CSV has every step."
)


def build(evidence: Evidence) -> Table | None:
    judged = judge_coordinates(evidence.coordinates)
    if judged.empty:
        return None
    is_change = judged["quantity"] == "change"
    last = judged.loc[is_change].groupby("network")["step"].transform("max")
    shown = judged[~is_change | judged["step"].isin([1]) | (judged["step"] == last.reindex(judged.index))]
    text = pd.DataFrame(
        {
            "network": shown["network"],
            "activation": shown["part"],
            "quantity": [_name(row) for row in rows_of(shown)],
            "verdict": shown["verdict"],
            "slope": [signed(slope) for slope in shown["slope"]],
            "95 % interval": [interval(ends) for ends in zip(shown["low"], shown["high"], strict=True)],
            "seeds": shown["n"],
            "depths": shown["depths"],
        }
    )
    return Table(NOTE, judged, text.astype(str))


def _name(row: Mapping[str, Any]) -> str:
    """Return the quantity of a row of `judge_coordinates` in words."""
    if row["quantity"] == "size":
        return "size before training"
    return f"change after {row['step']:,} update{'s'[: row['step'] > 1]}"


TABLE = ReportTable(build, title="Coordinate check over depth", chapter="layers")
