"""Differences between the errors of compared studies, seed by seed."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from depthbench.analysis.comparison import is_significant
from depthbench.analysis.rows import rows_of
from depthbench.analysis.verdict import LEAST_SEEDS
from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Comparison
from depthbench.report.tables.formatting import (
    interval,
    interval_note,
    number,
    p_value,
    seed_differences,
    signed,
    without_empty_columns,
    yes_no,
)


def build(compared: Comparison) -> Table | None:
    """Build the table, or return None if there are no differences. The opening of the page then says why."""
    differences = compared.differences
    return None if differences.empty else differences_table(differences, compared.labels[0])


def differences_table(differences: pd.DataFrame, baseline: str) -> Table:
    """Build the table of `analysis.comparison.differences`; `baseline` is the label of the first study."""
    rows = rows_of(differences)
    raw = differences.assign(differences=[seed_differences(row) for row in rows])
    shown = pd.DataFrame(
        {
            "study": raw["study"],
            "error": raw["error"],
            "network": [_networks(row) for row in rows],
            "depth": raw["depth"],
            "n": raw["n"],
            f"{baseline} (%)": [number(x) for x in raw["first"]],
            "the study (%)": [number(x) for x in raw["other"]],
            "mean difference (points)": [signed(x) for x in raw["mean"]],
            "95 % interval": [interval(ends) for ends in zip(raw["low"], raw["high"], strict=True)],
            "p": [p_value(x) for x in raw["p_holm"]],
            "significant": [yes_no(x) for x in is_significant(raw)],
            "each seed's difference": raw["differences"],
            "same initial weights": [yes_no(x) for x in raw["same_weights"]],
            "same batches": [yes_no(x) for x in raw["same_batches"]],
        }
    )
    note = (
        f"The error of each study minus that of {baseline}, seed by seed, over the n seeds that both have."
        f"{interval_note(differences['n'])} p is from the two-sided paired t test, "
        "Holm-corrected over the rows of a study and kind of error. A difference is significant if p <= 0.05."
        f" With fewer than {LEAST_SEEDS} seeds there is no p. Same batches are the same images in the same "
        "order."
    )
    return Table(note, raw, without_empty_columns(shown))


def _networks(row: Mapping[str, Any]) -> str:
    same = row["first_network"] == row["own_network"]
    return row["network"] if same else f"{row['own_network']} vs {row['first_network']}"


TABLE = ReportTable(build, title="Differences in numbers", chapter="training")
