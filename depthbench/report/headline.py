"""A study's results in sentences: numbers with their unit and n, and no verdict."""

import pandas as pd

from depthbench.analysis import STATUSES


def statuses(runs: pd.DataFrame, missing: pd.DataFrame) -> str:
    """e.g. `18 runs: 16 done, 1 diverged, 1 failed; 2 more of the grid are not begun`."""
    counts = runs["status"].value_counts()
    told = ", ".join(f"{counts[status]} {status}" for status in STATUSES if status in counts)
    words = f"{len(runs)} run{'' if len(runs) == 1 else 's'}: {told}"
    absent = int((missing["status"] == "not begun").sum())
    return f"{words}; {absent} more of the grid not begun" if absent else words


def degradation(summary: pd.DataFrame) -> list[str]:
    """A sentence a network: its train error at the least and the greatest depth, and the difference."""
    sentences = []
    for network, rows in summary[summary["n"] > 0].groupby("network", sort=False):
        ends = [rows.loc[rows["depth"].idxmin()], rows.loc[rows["depth"].idxmax()]]
        told = [
            f"{row['train_error_eval_mean']:.2f} % at depth {row['depth']} (n = {row['n']})" for row in ends
        ]
        if len(rows) == 1:
            sentences.append(f"{network}: mean train error {told[0]}.")
            continue
        change = ends[1]["train_error_eval_mean"] - ends[0]["train_error_eval_mean"]
        sentences.append(
            f"{network}: mean train error {told[0]} and {told[1]}: {change:+.2f} percentage points."
        )
    return sentences
