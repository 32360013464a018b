"""Test errors on corrupted images of each network and depth."""

import pandas as pd

from depthbench.data.corruptions import CORRUPTIONS
from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence
from depthbench.report.tables.formatting import (
    interval,
    interval_note,
    number,
    without_empty_columns,
)


def build(evidence: Evidence) -> Table | None:
    return robustness_table(evidence.robustness) if len(evidence.robustness) else None


def robustness_table(robustness: pd.DataFrame) -> Table:
    """Build the table of `analysis.robustness.summarise_robustness`.

    The text has one row per network, depth and corruption, on clean images and at the highest strength."""
    rows = []
    for (network, depth, corruption), group in robustness.groupby(["network", "depth", "corruption"]):
        clean, most = (group.iloc[i] for i in (group["strength"].argmin(), group["strength"].argmax()))
        known = CORRUPTIONS.get(str(corruption))  # None for a corruption of another version
        rows.append(
            {
                "network": network,
                "depth": depth,
                "corruption": corruption,
                "n": most["n"],
                "clean images, mean (%)": number(clean["mean"]),
                "over all strengths, mean (%)": number(group.loc[group["strength"] > 0, "mean"].mean()),
                "at the highest strength, mean (%)": number(most["mean"]),
                "95 % interval (%)": interval(most[["low", "high"]]),
                "range (%)": interval(most[["min", "max"]]),
                "highest strength": f"{most['strength']:g}" + (f" ({known.unit})" if known else ""),
            }
        )
    note = (
        "Final test error over n seeds on corrupted images. All runs see the same images. A diverged run "
        "counts at chance error. Interval and range are those at the highest strength. The CSV has every "
        f"strength.{interval_note(robustness['n'])}"
    )
    return Table(note, robustness, without_empty_columns(pd.DataFrame(rows)))


TABLE = ReportTable(build, title="Errors on corrupted images by network and depth", chapter="classes")
