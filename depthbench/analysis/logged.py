"""Errors of runs that `depthbench.watch` recorded, which are those that their loop logged.

A loop that never measures the train error in evaluation mode is judged by that of its batches."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

BATCHES, JUDGED = "train_error", "train_error_eval"


def is_watched(run: Mapping[str, Any]) -> bool:
    """Return whether `watch` recorded a run, a row of `Results.runs`."""
    return run.get("loop") == "watch"


def with_batch_errors(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of runs with the train error of the batches where their loop logged no other."""
    return [{**row, JUDGED: row[BATCHES]} if _needs_them(row) else dict(row) for row in rows]


def _needs_them(row: Mapping[str, Any]) -> bool:
    return is_watched(row) and row[JUDGED] is None


def history_with_batch_errors(history: pd.DataFrame, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the history with the same train errors. rows: those of its runs, as they are stored."""
    filled = [row["run_id"] for row in rows if _needs_them(row)]
    if not filled or history.empty:
        return history
    known = history[JUDGED].mask(history["run_id"].isin(filled), history[BATCHES])
    return history.assign(**{JUDGED: known})
