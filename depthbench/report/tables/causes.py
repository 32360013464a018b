"""Interventions, their symptoms and their outcome: what does and does not occur with degradation."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from depthbench.analysis.causes import EARLY, EXPLODED, GROWN, SYMPTOMS
from depthbench.analysis.layers import START
from depthbench.analysis.rows import rows_of
from depthbench.analysis.verdict import LEAST_SEEDS
from depthbench.report.changing import change
from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence
from depthbench.report.tables.formatting import (
    number,
    p_value,
    signed,
    significant,
    without_empty_columns,
)

HEADINGS = {
    "explosion": "early gradient explodes",
    "growth": "weights grow",
    "least": "gradient vanishes",
}


def build(evidence: Evidence) -> Table | None:
    """Build the table, or return None if no variant of the study has a baseline and two depths."""
    table = evidence.causes
    if table.empty:
        return None
    rows = rows_of(table)
    texts = [
        change(evidence.study, row["network"], row["baseline"]) if row["baseline"] else "" for row in rows
    ]
    shown = pd.DataFrame(
        [
            {
                "network": row["network"],
                "change": text or "baseline",
                "depths": f"{row['shallow']}, {row['deep']}",
                "n": row["n"],
                **{heading: _symptom(row, name) for name, heading in HEADINGS.items()},
                "train error, shallower (%)": number(row["error_shallow"]),
                "deeper (%)": number(row["error_deep"]),
                "residual twin, deeper (%)": number(row["error_twin"]),
                "degradation": row["verdict"],
                "rise (points)": signed(row["effect"]),
                "p": p_value(row["p"]),
                "diverged": str(row["diverged"] or ""),
            }
            for row, text in zip(rows, texts, strict=True)
        ]
    )
    margin = evidence.verdicts["train_error_eval"].margin
    note = (
        "Each row is a baseline or one change of it, at two depths. The symptoms are those of the deeper "
        "network. The number in brackets is the geometric mean over seeds of what is judged. Early gradient "
        f"explodes: within the first {100 * EARLY:g} % of the steps (at least {START} steps), the norm of "
        f"dL/dz of the first layer exceeds {EXPLODED:g} times that of the last hidden one. Weights grow: at "
        f"some probed step, the norm of a layer's weights exceeds {GROWN:g} times the initial one. Gradient "
        f"vanishes: at some probed step, the norm of dL/dz of the first layer is below 1/{EXPLODED:g} of "
        "that of the last hidden one. Only probed steps count. Degradation is the verdict on the train error "
        f"of the deeper network against the shallower one with the same change (margin {margin:g}, at least "
        f"{LEAST_SEEDS} seeds), as in the table of verdicts. p is not corrected over the interventions. If "
        "degradation is present where a symptom is absent, that symptom is not necessary for it. If they "
        "occur together, this does not show that one causes the other."
    )
    return Table(note, table.assign(change=texts), without_empty_columns(shown))


def _symptom(row: Mapping[str, Any], name: str) -> str:
    """Write whether the seeds have a symptom, and the number that is judged; empty if not probed."""
    fraction = row[SYMPTOMS[name]]
    if math.isnan(fraction):
        return ""
    word = {0.0: "no", 1.0: "yes"}.get(fraction, f"{100 * fraction:.0f} % of seeds")
    mean = row[name]
    return f"{word} ({significant(mean) if math.isfinite(mean) else 'infinite'})"


TABLE = ReportTable(build, title="Interventions, symptoms and degradation", chapter="changes")
