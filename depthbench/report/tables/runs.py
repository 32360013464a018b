"""Every run, and whether it matches its twin."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from depthbench.analysis.rows import rows_of
from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence
from depthbench.report.tables.formatting import (
    CROP_ERRORS,
    number,
    status,
    whole,
    without_empty_columns,
    yes_no,
)


def build(evidence: Evidence) -> Table:
    return runs_table(evidence.runs, evidence.twins)


def runs_table(runs: pd.DataFrame, twins: pd.DataFrame) -> Table:
    """Build the table of `Results.runs` with the pairs of `analysis.matching.match_twins`."""
    records, pairs = rows_of(runs), rows_of(twins)
    matched = pd.DataFrame([_matched(run, pairs) for run in records], index=runs.index)
    devices = runs["device"].map(lambda x: "" if pd.isna(x) else str(x))
    shown = pd.DataFrame(
        {
            "run": runs["run_id"],
            "status": [status(run) for run in records],
            "updates": [
                f"{whole(made)} of {whole(planned)}"
                for made, planned in zip(runs["step"], runs["steps"], strict=True)
            ],
            "train error (%)": [number(x) for x in runs["train_error_eval"]],
            "test error, final (%)": [number(x) for x in runs["test_error"]],
            **{words: [number(x) for x in runs[key]] for key, words in CROP_ERRORS.items()},
            "test error, best (%)": [_error_at_step(run, "best_") for run in records],
            "test error, chosen by validation (%)": [_error_at_step(run, "val_selected_") for run in records],
            "parameters": runs["parameters"].map(whole),
            **matched,
            "multiply-adds (million)": [number(x, 1e6, 1) for x in runs["multiply_adds"]],
            "time (s)": [number(x, 1, 1) for x in runs["seconds"]],
            "peak memory (MB)": [number(x, 1e6, 0) for x in runs["peak_memory"]],
            "device": devices if devices.nunique() > 1 else "",
        }
    )
    note = (
        "An unfinished run is shown with its latest errors, which no mean includes. Twins are a plain and a "
        "residual network of the same depth and seed. Twins should have the same number of parameters, the "
        "same initial weights, and the same batches in the same order. The table shows NO where they do not. "
        "Batches are compared by hash, over the number of updates shown."
    )
    if devices.nunique() == 1 and devices.iloc[0]:
        note += f" Device of all runs: {devices.iloc[0]}."
    return Table(note, runs.join(matched), without_empty_columns(shown))


def _error_at_step(run: Mapping[str, Any], prefix: str) -> str:
    """Write a test error with the step that it was measured at."""
    error = number(run[f"{prefix}test_error"])
    return error and f"{error} at {whole(run[f'{prefix}step'])}"


def _matched(run: Mapping[str, Any], pairs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return a run's twins and what they share, separated by `;`."""
    own = [
        pair
        for pair in pairs
        if (pair["depth"], pair["seed"]) == (run["depth"], run["seed"])
        and run["network"] in (pair["network"], pair["twin"])
    ]
    return {
        "twin": "; ".join(p["twin"] if p["network"] == run["network"] else p["network"] for p in own),
        "same parameters": "; ".join(_yes_no(p["parameters"]) for p in own),
        "same initial weights": "; ".join(_yes_no(p["initial_weights"]) for p in own),
        "same batches": "; ".join(
            f"{_yes_no(p['batches'])} ({whole(p['batches_compared'])} updates)" for p in own
        ),
    }


def _yes_no(value: Any) -> str:
    """Write a truth value; `NO` in capitals, because twins must match."""
    return "NO" if yes_no(value) == "no" else yes_no(value)


TABLE = ReportTable(build, title="Runs and their twins")
