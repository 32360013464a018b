"""What each change of a baseline costs, in points of error."""

import pandas as pd

from depthbench.analysis.comparison import is_significant
from depthbench.analysis.deviations import largest_first
from depthbench.analysis.summary import ERRORS
from depthbench.analysis.verdict import LEAST_SEEDS
from depthbench.report.changing import change
from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence
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


def build(evidence: Evidence) -> Table | None:
    """Build the table, the largest rise of each kind of error, baseline and depth first."""
    table = evidence.deviations
    if table.empty:
        return None
    rows = [row for error in ERRORS.values() for row in largest_first(table, error)]
    ordered = pd.DataFrame(rows, columns=table.columns)
    raw = ordered.assign(
        change=[change(evidence.study, row["network"], row["baseline"]) for row in rows],
        differences=[seed_differences(row) for row in rows],
    )
    shown = pd.DataFrame(
        {
            "error": raw["error"],
            "baseline": raw["baseline"],
            "depth": raw["depth"],
            "variant": raw["network"],
            "change": raw["change"],
            "n": raw["n"],
            "baseline (%)": [number(x) for x in raw["first"]],
            "variant (%)": [number(x) for x in raw["other"]],
            "mean difference (points)": [signed(x) for x in raw["mean"]],
            "95 % interval": [interval(ends) for ends in zip(raw["low"], raw["high"], strict=True)],
            "p": [p_value(x) for x in raw["p_holm"]],
            "significant": [yes_no(x) for x in is_significant(raw)],
            "each seed's difference": raw["differences"],
        }
    )
    note = (
        "The error of each variant minus that of its baseline, seed by seed, over the n seeds that both "
        "have. The error of a run is the mean of its last evaluations: at most five, and only from the last "
        f"quarter of training. A diverged run counts at chance error.{interval_note(table['n'])} p is from "
        "the two-sided paired t test, Holm-corrected over the variants of a baseline at one depth, for each "
        f"kind of error. With fewer than {LEAST_SEEDS} seeds there is no p. One change at a time does not "
        "show how changes act together."
    )
    return Table(note, raw, without_empty_columns(shown))


TABLE = ReportTable(build, title="What each change costs", chapter="changes")
