"""Macro F1 and the hardest class of each network and depth."""

import pandas as pd

from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence
from depthbench.report.tables.formatting import (
    interval,
    interval_note,
    number,
    without_empty_columns,
)


def build(evidence: Evidence) -> Table | None:
    return classes_table(evidence.classes) if len(evidence.classes) else None


def classes_table(classes: pd.DataFrame) -> Table:
    """Build the table of `analysis.classes.summarise_classes`. The text shows only the worst class."""
    rows = []
    for (network, depth), group in classes.groupby(["network", "depth"]):
        macro_f1, recalls = group[group["metric"] == "macro_f1"].iloc[0], group[group["metric"] == "recall"]
        worst = recalls.iloc[recalls["mean"].argmin()]
        ties = int((recalls["mean"] == worst["mean"]).sum()) - 1
        rows.append(
            {
                "network": network,
                "depth": depth,
                "n": macro_f1["n"],
                "macro F1, mean (%)": number(macro_f1["mean"]),
                "macro F1, 95 % interval (%)": interval(macro_f1[["low", "high"]]),
                "worst class": worst["class"] + (f" and {ties} more" if ties else ""),
                "its recall, mean (%)": number(worst["mean"]),
                "its recall, 95 % interval (%)": interval(worst[["low", "high"]]),
            }
        )
    note = (
        "Recall is the percentage of a class's test images that the trained network classifies correctly. "
        "The worst class has the lowest mean recall. The F1 of a class is the harmonic mean of its precision "
        "and recall, and macro F1 is the mean over classes. Means are over n seeds. A diverged run has "
        f"no predictions and is omitted. The CSV has every class.{interval_note(classes['n'])}"
    )
    return Table(note, classes, without_empty_columns(pd.DataFrame(rows)))


TABLE = ReportTable(build, title="F1 and recall by network and depth", chapter="classes")
