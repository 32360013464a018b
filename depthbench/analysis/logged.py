"""Train errors of runs that `depthbench.watch` recorded, as their loop logged them.

If a loop never logged the train error in evaluation mode, the error of its batches takes its place."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

BATCHES, JUDGED = "train_error", "train_error_eval"


def is_watched(run: Mapping[str, Any]) -> bool:
    """Return whether `depthbench.watch` recorded a run. run: a row of `Results.runs`."""
    return run.get("loop") == "watch"


def with_batch_errors(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of runs, with the train error of the batches in place of a missing one."""
    return [{**row, JUDGED: row[BATCHES]} if _needs_them(row) else dict(row) for row in rows]


def _needs_them(row: Mapping[str, Any]) -> bool:
    return is_watched(row) and row[JUDGED] is None and row[BATCHES] is not None


def history_with_batch_errors(history: "pd.DataFrame", rows: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    """Return the history with the same replacement. rows: the rows of its runs before the replacement."""
    filled = [row["run_id"] for row in rows if _needs_them(row)]
    if not filled or history.empty:
        return history
    known = history[JUDGED].mask(history["run_id"].isin(filled), history[BATCHES])
    return history.assign(**{JUDGED: known})
