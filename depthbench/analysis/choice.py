"""Which depth to choose: the error of each network and depth beside what it costs, and the rule of one
standard error.

Of all models whose mean error is within one standard error of the best one's, the rule takes the simplest
(Breiman et al. 1984, Classification and Regression Trees, sec. 3.4.3; Hastie et al. 2009, The Elements of
Statistical Learning, sec. 7.10). The errors are of validation images: a model that is chosen by its test
error has none left that can be believed."""

import numpy as np
import pandas as pd

from depthbench.analysis import FINISHED
from depthbench.analysis.chance import near_chance

COSTS = ("parameters", "multiply_adds", "seconds", "peak_memory")
MEASURED_WITH = {  # what must be the same for a measured cost to be held beside another
    "seconds": ("device", "threads"),
    "peak_memory": ("device", "threads", "peak_memory_of"),
}
DIGITS = 9  # of a mean error: sums of the same errors in another order are equal
NOISE = 0.05  # of a measured cost: what differs by less is taken for equal
LEAST_SEEDS = 2  # of one seed no error has a standard error


def choose(runs: pd.DataFrame) -> pd.DataFrame:
    """A row a network and depth with a finished run, ordered so. `runs` is `Results.runs`.

    Columns: network, depth; error, `val_error` or, where there are no validation images, `test_error`; n
    finished seeds, done, how many of them did not diverge; the mean and the standard error se of their last
    error (percent; a diverged one at chance; NaN for n < 2); the COSTS, means over the seeds that are done,
    since a diverged one ended early; front_COST, whether no other row has a lower error at no greater cost or
    the same at a lower one, where measured costs within NOISE of each other are equal; chosen_of_network, the
    least depth of its network within one standard error of that network's best; and chosen, the fewest
    multiply-adds within one of the best of all. No row of fewer than LEAST_SEEDS, or of which all diverged,
    is chosen or sets what is best; none is by its test error, nor where the best is at chance."""
    finished = runs[runs["status"].isin(FINISHED)]
    error = "val_error" if finished["val_error"].notna().any() else "test_error"
    values = finished[error]
    if error == "val_error":  # of a run that diverged before its first evaluation: at chance, as any other
        values = values.where(finished["status"] != "diverged", finished["test_error"])
    finished = finished.assign(value=pd.to_numeric(values)).dropna(subset=["value"])
    rows = []
    for (network, depth), group in finished.groupby(["network", "depth"]):
        done = group[group["status"] == "done"]
        row = {"network": network, "depth": depth, "error": error, "n": len(group), "done": len(done)}
        row |= {"mean": round(group["value"].mean(), DIGITS), "se": group["value"].sem()}
        costs = ((cost, group if cost in COSTS[:2] else done) for cost in COSTS)
        rows.append(row | {cost: pd.to_numeric(measured[cost]).mean() for cost, measured in costs})
    columns = ["network", "depth", "error", "n", "done", "mean", "se", *COSTS]
    table = pd.DataFrame(rows, columns=columns)
    for cost in COSTS:
        table[f"front_{cost}"] = _front(table[cost], table["mean"], NOISE if cost in MEASURED_WITH else 0)
    judged = table[(table["n"] >= LEAST_SEEDS) & (table["done"] > 0) & (table["error"] == "val_error")]
    if not judged.empty and best(judged)["mean"] > near_chance(runs):
        judged = judged.iloc[:0]
    least = [_within(rows)["depth"].idxmin() for _, rows in judged.groupby("network")]
    cheapest = _within(judged).sort_values(["multiply_adds", "mean"]).index[:1]
    return table.assign(
        chosen_of_network=table.index.isin(least),
        chosen=table.index.isin(cheapest),
    )


def best(table: pd.DataFrame) -> pd.Series:
    """Of rows of `choose`, the one of the lowest mean error; of equal ones the first."""
    return table.loc[table["mean"].idxmin()]


def differing(runs: pd.DataFrame) -> dict[str, list[str]]:
    """Measured cost -> what it was measured with (columns of `runs`) that is not the same in all done runs,
    so that it cannot be compared. Costs of which nothing is known are left out."""
    done = runs[runs["status"] == "done"]
    found = {
        cost: [column for column in columns if done.loc[done[cost].notna(), column].nunique() > 1]
        for cost, columns in MEASURED_WITH.items()
    }
    return {cost: columns for cost, columns in found.items() if columns}


def _front(cost: pd.Series, error: pd.Series, noise: float) -> np.ndarray:
    """Whether each row is Pareto-optimal: none is better in one of the two and no worse in the other. Costs
    that differ by at most a part `noise` of them are equal."""
    c, e = cost.to_numpy(float), error.to_numpy(float)
    no_worse = (c <= (1 + noise) * c[:, None]) & (e <= e[:, None])  # (row, other)
    better = ((1 + noise) * c < c[:, None]) | (e < e[:, None])
    return ~np.isnan(c) & ~(no_worse & better).any(axis=1)


def _within(rows: pd.DataFrame) -> pd.DataFrame:
    """Those whose mean error is within one standard error of the best one's."""
    if rows.empty:
        return rows
    lowest = best(rows)
    return rows[rows["mean"] <= lowest["mean"] + lowest["se"]]
