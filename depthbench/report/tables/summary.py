"""Errors of each network and depth over the seeds."""

import pandas as pd

from depthbench.analysis.rows import rows_of
from depthbench.analysis.summary import ERRORS
from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Comparison, Evidence
from depthbench.report.sentences import how_errors_are_measured
from depthbench.report.tables.formatting import (
    CROP_ERRORS,
    interval,
    interval_note,
    number,
    status_counts,
    without_empty_columns,
)

STATISTICS = {"mean": ("mean",), "95 % interval": ("low", "high"), "range": ("min", "max")}


def build(evidence: Evidence) -> Table:
    return summary_table(evidence.summary, how_errors_are_measured(evidence.study, evidence.predicts))


def build_comparison(compared: Comparison) -> Table:
    return summary_table(
        compared.summary,
        "Each study chooses the training images on which it measures the train error. Errors of runs of "
        "depthbench.watch are those that their loop logged.",
    )


def summary_table(summary: pd.DataFrame, measured: str) -> Table:
    """Build the table of `analysis.summary.summarise`. `measured` says how errors are measured."""
    shown = pd.DataFrame({"network": summary["network"], "depth": summary["depth"], "n": summary["n"]})
    for name, title in ERRORS.items():
        for words, keys in STATISTICS.items():
            columns = [summary[f"{name}_{key}"] for key in keys]
            shown[f"{title}, {words} (%)"] = [interval(values) for values in zip(*columns, strict=True)]
    for name, title in CROP_ERRORS.items():
        if f"{name}_mean" in summary:
            shown[f"{title.removesuffix(' (%)')}, mean (%)"] = [number(x) for x in summary[f"{name}_mean"]]
    shown["runs"] = [status_counts(row) for row in rows_of(summary)]
    note = (
        f"Errors of the last evaluation over n seeds. {measured} A diverged run counts at chance error."
        f"{interval_note(summary['n'])} The best test error of a run is chosen on the test set, so "
        "only the table of runs shows it and no mean includes it."
    )
    if any(f"{name}_mean" in summary for name in CROP_ERRORS):
        note += " Errors over 10 crops and top-5 errors are means over the runs that have them."
    return Table(note, summary, without_empty_columns(shown))


TABLE = ReportTable(build, title="Errors by network and depth", chapter="training")
COMPARISON = ReportTable(build_comparison, title="Errors by network and depth", chapter="training")
