"""Errors during training over the seeds of each network and depth."""

import pandas as pd

from depthbench.analysis import FINISHED

MOST_POINTS = 600  # of one curve; more cannot be told apart at the width of a column


def mean_curves(runs: pd.DataFrame, history: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the mean and range of `column` (percent) over the finished seeds at each logged step.

    Columns: network, depth, step (updates made), mean, low, high (the lowest and highest seed), n. After its
    last step, a finished run keeps its final error, so a diverged run stays in the mean at chance error.
    Steps at which a seed has no value yet are omitted."""
    frames = []
    finished = runs[runs["status"].isin(FINISHED)]
    for _, group in finished.groupby(["network", "depth"]):
        rows = history[history["run_id"].isin(group["run_id"])].dropna(subset=[column])
        table = rows.pivot_table(index="step", columns="run_id", values=column)  # (steps, seeds)
        final = pd.to_numeric(group.set_index("run_id")[column], errors="coerce")
        for run_id in map(str, table):
            table.loc[table.index > table[run_id].last_valid_index(), run_id] = final[run_id]
        for run_id in group.loc[group["status"] == "diverged", "run_id"]:
            if run_id not in table:  # it diverged before its first value: at chance from the start
                table[run_id] = final[run_id]
        table = thin(table.ffill().dropna())
        spread = {"mean": table.mean(axis=1), "low": table.min(axis=1), "high": table.max(axis=1)}
        curve = pd.DataFrame(spread).assign(n=table.shape[1]).rename_axis("step").reset_index()
        frames.append(curve.assign(network=group["network"].iloc[0], depth=group["depth"].iloc[0]))
    columns = ["network", "depth", "step", "mean", "low", "high", "n"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def thin(table: pd.DataFrame) -> pd.DataFrame:
    """Return at most MOST_POINTS evenly spaced rows of `table`, including the last one."""
    stride = -(-len(table) // MOST_POINTS) or 1
    return table.iloc[::-1].iloc[::stride].iloc[::-1]
