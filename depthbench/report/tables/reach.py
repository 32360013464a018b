"""The steps that each network and depth takes to reach a train error."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from depthbench.analysis.reach import LEVEL, evaluated_steps, reach
from depthbench.analysis.rows import rows_of
from depthbench.analysis.verdict import budget
from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence
from depthbench.report.tables.formatting import whole


def level_of(study: Mapping[str, Any]) -> float:
    """Return the train error (percent) that `study` (study.toml) asks for."""
    return study.get("verdict", {}).get("reach") or LEVEL


def build(evidence: Evidence) -> Table | None:
    runs, history = evidence.runs, evidence.history
    if len(evaluated_steps(runs, history)) < 2 or not evidence.is_trained:
        return None
    level = level_of(evidence.study)
    return reach_table(reach(runs, history, level), level, budget(runs))


def reach_table(table: pd.DataFrame, level: float, steps: tuple[int, int] | None) -> Table:
    """Build the table of `analysis.reach.reach`. `steps` is `analysis.verdict.budget`."""
    shown = pd.DataFrame(
        {
            **{key: table[key] for key in ("network", "depth", "n")},
            "reached": [f"{row['reached']} of {row['n']}" for row in rows_of(table)],
            "median (steps)": [_median(row) for row in rows_of(table)],
            "earliest (steps)": [_steps(x) for x in table["earliest"]],
            "latest (steps)": [_steps(x) for x in table["latest"]],
            "not reached": [_others(row) for row in rows_of(table)],
        }
    )
    nothing = ""
    if not table["reached"].any():  # rows of the same words say nothing more
        within = "" if steps is None else f" within {whole(steps[1])} steps"
        nothing = f"No run reached a train error of {level:g} %{within}."
        table, shown = table.iloc[:0], shown.iloc[:0]
    note = (
        f"Steps until the train error is first {level:g} % or less (`verdict.reach`) at an evaluation, "
        "over n runs. A run is evaluated every few steps, so it reached the error at some step up to the one "
        "shown, after the evaluation before. The median is that of the Kaplan-Meier curve. A run that did "
        "not reach the error is censored at its last evaluation: with more steps it may reach it. A run that "
        "diverged cannot, and is censored at its planned end. The median is above the last step if "
        "fewer than half of the runs reached the error."
    )
    return Table(note, table, shown.astype(str), nothing)


def _median(row: Mapping[str, Any]) -> str:
    """Write a median, or the step that it exceeds."""
    if pd.notna(row["median"]):
        return whole(row["median"])
    if 2 * row["diverged"] > row["n"]:
        return "none, as most diverged"
    return f"above {whole(row['observed'])}"


def _steps(value: float) -> str:
    return "" if pd.isna(value) else whole(value)


def _others(row: Mapping[str, Any]) -> str:
    """Write how long the runs that did not reach the error were observed."""
    count = row["n"] - row["reached"]
    if not count:
        return ""
    text = f"{count} within {whole(row['observed'])} steps"
    return text + (f", {row['diverged']} of which diverged" if row["diverged"] else "")


TABLE = ReportTable(build, title="Steps to reach a train error in numbers", chapter="training")
