"""The study's errors next to published ones."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from depthbench.analysis.rows import rows_of
from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence
from depthbench.report.tables.formatting import (
    number,
    plus_minus,
    signed,
    without_empty_columns,
    yes_no,
)

METRICS = {
    "test_error": "test",
    "train_error": "train",
    "top1_error": "top-1, 10 crops",
    "top5_error": "top-5, 10 crops",
}


def build(evidence: Evidence) -> Table | None:
    return reproduction_table(evidence.reproduction) if len(evidence.reproduction) else None


def reproduction_table(reproduction: pd.DataFrame) -> Table:
    """Build the table of `analysis.reference.reproduction`."""
    rows = rows_of(reproduction)
    shown = pd.DataFrame(
        {
            **{key: reproduction[key] for key in ("network", "depth", "data")},
            "error": [METRICS[metric] for metric in reproduction["metric"]],
            "ours (%)": [plus_minus(row["mean"], row["sd"], row["diverged"]) for row in rows],
            "n": reproduction["n"],
            "published (%)": [_published(row) for row in rows],
            "ours - published": [signed(x) for x in reproduction["difference"]],
            "within the spread": [_within(row) for row in rows],
            "same recipe": [yes_no(row["same_protocol"]) if row["source"] else "" for row in rows],
            "our protocol": reproduction["protocol"],
            "published protocol": reproduction["published_protocol"],
            "source": reproduction["source"],
            "our recipe differs in": reproduction["differs"],
        }
    )
    note = (
        "Our errors next to published ones for the same network, depth and data set. Results on other data, "
        "however similar, are not compared. Ours is the mean and standard deviation (s.d.) over n finished "
        "seeds. Our protocol says which evaluation counts. A diverged run counts at chance error. The "
        "difference is within the spread if it is at most 2 s.d., using the larger of our s.d. and the "
        "published one. Our s.d. is not used if n is 1 or a run diverged. The recipe is the same if it "
        "matches that of the source, as far as a run records it, and unknown if the source does not state "
        "one. The train error is measured during training."
    )
    shown, nothing = without_empty_columns(shown), ""
    if not any(reproduction["source"]):
        reproduction, shown = reproduction.iloc[:0], shown.iloc[:0]
        nothing = "No published number is known for these networks and data."
    return Table(note, reproduction, shown, nothing)


def _published(row: Mapping[str, Any]) -> str:
    if row["bound"]:
        return f"{row['bound']} {number(row['published'])}"
    return plus_minus(row["published"], row["published_sd"])


def _within(row: Mapping[str, Any]) -> str:
    return row["why"] if pd.isna(row["within"]) else f"{yes_no(row['within'])} ({row['why']})"


TABLE = ReportTable(build, title="Comparison with published numbers", chapter="published")
