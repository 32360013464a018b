"""Choice of a depth: the error and cost of each network and depth, and the one-standard-error rule.

The rule takes the simplest model with a mean error within one standard error of the best (Breiman et al.
1984, Classification and Regression Trees, sec. 3.4.3; Hastie et al. 2009, The Elements of Statistical
Learning, sec. 7.10). It uses validation errors, because the test error of a model that was chosen by its test
error is biased."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from depthbench.analysis import FINISHED
from depthbench.analysis.chance import near_chance

ERRORS = {"val_error": "validation error", "test_error": "test error"}
COSTS = ("parameters", "multiply_adds", "seconds", "peak_memory")
MEASURED_WITH = {  # columns that must agree for measured costs to be comparable
    # the commit counts too: other code, measured at another time, when the machine may have been busy
    "seconds": ("device", "threads", "commit"),
    "peak_memory": ("device", "threads", "commit", "peak_memory_of"),
}
DIGITS = 9  # decimals kept of a mean error, so that the order of summation does not matter
NOISE = 0.05  # relative: measured costs that differ by less count as equal
LEAST_SEEDS = 3  # two seeds hardly show a spread: their standard error is often near 0


def choose(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each network and depth with a finished run, in this order.

    `runs` is `Results.runs`. Columns:
    - network, depth; error, the column used: `val_error`, or `test_error` if there is no validation set;
    - n, the finished seeds; done, how many of them did not diverge;
    - mean and se, the mean and standard error of their final errors (percent; a diverged run counts at chance
      error; se is NaN for n < 2); min and max, their range;
    - COSTS, means over the seeds; means of measured costs omit diverged runs, which ended early;
    - front_COST, whether the row is Pareto-optimal: no other row is at least as good in cost and error, and
      better in one of them (measured costs within NOISE count as equal);
    - seeds_on_front_COST, the number of seeds, of n, whose errors alone make the row Pareto-optimal among the
      rows that have the seed, at the same mean costs;
    - chosen_of_network, whether this is the shallowest depth of its network within one standard error of that
      network's best depth;
    - chosen, whether the row has the fewest multiply-adds of all rows within one standard error of the best.

    Rows with fewer than LEAST_SEEDS seeds, or whose runs all diverged, are never chosen and never count as
    the best. Nothing is chosen by test error, or if the best is at chance."""
    finished = runs[runs["status"].isin(FINISHED)]
    error = "val_error" if finished["val_error"].notna().any() else "test_error"
    values = finished[error]
    if error == "val_error":  # a run that diverged before its first evaluation counts at chance error too
        values = values.where(finished["status"] != "diverged", finished["test_error"])
    finished = finished.assign(value=pd.to_numeric(values)).dropna(subset=["value"])
    rows = []
    for (network, depth), group in finished.groupby(["network", "depth"]):
        done = group[group["status"] == "done"]
        row = {"network": network, "depth": depth, "error": error, "n": len(group), "done": len(done)}
        row |= {"mean": round(group["value"].mean(), DIGITS), "se": group["value"].sem()}
        row |= {"min": group["value"].min(), "max": group["value"].max()}
        measured = {cost: done if cost in MEASURED_WITH else group for cost in COSTS}
        rows.append(row | {cost: pd.to_numeric(of[cost]).mean() for cost, of in measured.items()})
    columns = ["network", "depth", "error", "n", "done", "mean", "se", "min", "max", *COSTS]
    table = pd.DataFrame(rows, columns=columns)
    by_seed = finished.groupby(["network", "depth", "seed"])["value"].mean().unstack()  # as the rows of table
    for cost in COSTS:
        noise = NOISE if cost in MEASURED_WITH else 0
        table[f"front_{cost}"] = _front(table[cost], table["mean"], noise)
        fronts = [
            _front(table[cost].where(errors.notna().to_numpy()), errors, noise)
            for _, errors in by_seed.items()
        ]
        table[f"seeds_on_front_{cost}"] = np.sum(fronts, axis=0, dtype=int)
    eligible = considered(table)
    eligible = eligible[eligible["error"] == "val_error"]
    if not eligible.empty and best(eligible)["mean"] > near_chance(runs):
        eligible = eligible.iloc[:0]
    shallowest = [_within(rows)["depth"].idxmin() for _, rows in eligible.groupby("network")]
    cheapest = _within(eligible).sort_values(["multiply_adds", "mean"]).index[:1]
    return table.assign(
        chosen_of_network=table.index.isin(shallowest),
        chosen=table.index.isin(cheapest),
    )


def considered(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `choose` with enough seeds, of which at least one did not diverge."""
    return table[(table["n"] >= LEAST_SEEDS) & (table["done"] > 0)]


def runner_up(table: pd.DataFrame) -> pd.Series | None:
    """Return the row of `choose` with the lowest mean error but the recommended one, if there is another."""
    others = considered(table)
    others = others[~others["chosen"].astype(bool)]
    return None if others.empty else best(others)


def best(table: pd.DataFrame) -> pd.Series:
    """Return the first row of `choose` with the lowest mean error."""
    return table.iloc[int(table["mean"].argmin())]


def ranked_costs(table: pd.DataFrame, incomparable: Collection[str] = ()) -> list[str]:
    """Return the costs that all rows of `choose` have, except for those that are `incomparable`."""
    partly = partly_recorded(table)
    recorded = [cost for cost in COSTS if table[cost].notna().any()]
    return [cost for cost in recorded if cost not in partly and cost not in incomparable]


def incomparable_costs(runs: pd.DataFrame) -> dict[str, list[str]]:
    """Return the measured costs that cannot be compared, each with the columns that differ between done runs.

    Costs that no run recorded are omitted."""
    done = runs[runs["status"] == "done"]
    differing = {
        cost: [column for column in columns if done.loc[done[cost].notna(), column].nunique() > 1]
        for cost, columns in MEASURED_WITH.items()
    }
    return {cost: columns for cost, columns in differing.items() if columns}


def partly_recorded(table: pd.DataFrame) -> list[str]:
    """Return the costs that only some rows of `choose` have. Rows whose runs all diverged have none."""
    unknown = table.loc[table["done"] > 0, list(COSTS)].isna()
    return [cost for cost in COSTS if unknown[cost].any() and not unknown[cost].all()]


def _front(cost: pd.Series, error: pd.Series, noise: float) -> np.ndarray:
    """Return whether each row is Pareto-optimal. Costs within the fraction `noise` count as equal."""
    c, e = cost.to_numpy(float), error.to_numpy(float)
    no_worse = (c <= (1 + noise) * c[:, None]) & (e <= e[:, None])  # (row, other)
    better = ((1 + noise) * c < c[:, None]) | (e < e[:, None])
    return ~np.isnan(c) & ~(no_worse & better).any(axis=1)


def _within(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose mean error is within one standard error of the best."""
    if rows.empty:
        return rows
    lowest = best(rows)
    return rows[rows["mean"] <= lowest["mean"] + lowest["se"]]
