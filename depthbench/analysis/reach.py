"""Steps that each network and depth takes to reach a train error, over its seeds.

The train error is `train_error_eval`, in evaluation mode. It is known at evaluations only, so a run reaches
an error somewhere between two evaluations, and a time here is the upper end of that interval. A run that does
not reach it is censored: it may do so later. The median and the curve are those of Kaplan and Meier (1958),
which use a censored run for as long as it was observed.

scipy.stats is imported only where a curve is estimated, because the import takes most of a second."""

import numpy as np
import pandas as pd

COLUMN = "train_error_eval"
LEVEL = 10.0  # percent, if a study states none
KEYS = ["network", "depth"]
ROUNDING = 1e-9  # of a fraction of runs


def reach_times(runs: pd.DataFrame, history: pd.DataFrame, level: float) -> pd.DataFrame:
    """Return a row for each run with an evaluation, or diverged: when its train error was first <= `level`.

    `level` is in percent. Columns: run_id, network, depth, seed, status; reached; step, that of the first
    evaluation at or below the level. A run that never reaches it is censored: step is its last evaluated
    step, or its planned end if it diverged, because it can no longer reach it."""
    evaluated = history.dropna(subset=[COLUMN])
    reaching = evaluated[evaluated[COLUMN].astype(float) <= level]
    first = reaching.groupby("run_id")["step"].min()
    last = evaluated.groupby("run_id")["step"].max()
    table = runs[["run_id", *KEYS, "seed", "status", "steps"]].copy()
    when = pd.to_numeric(table["run_id"].map(first))
    end = pd.to_numeric(table["run_id"].map(last))
    planned = pd.to_numeric(table["steps"], errors="coerce")
    end = end.mask(table["status"] == "diverged", planned)
    table = table.assign(reached=when.notna(), step=when.fillna(end)).drop(columns="steps")
    return table.dropna(subset=["step"]).astype({"step": int}).reset_index(drop=True)


def reach(runs: pd.DataFrame, history: pd.DataFrame, level: float) -> pd.DataFrame:
    """Return a row for each network and depth: the steps to reach a train error <= `level` (percent).

    Columns: network, depth; n, the runs of `reach_times`; reached, how many reach the level; diverged, how
    many of the others diverged; median (steps), where the Kaplan-Meier curve falls to one half, NaN if it
    does not; earliest and latest (steps) of the runs that reach it, NaN if none does; observed (steps), the
    last step at which a run that does not reach it was still observed, NaN if all do."""
    times = reach_times(runs, history, level)
    when, end = times["step"].where(times["reached"]), times["step"].where(~times["reached"])
    failed = ~times["reached"] & (times["status"] == "diverged")
    groups = times.assign(n=1, when=when, end=end, failed=failed).groupby(KEYS, sort=False)
    table = groups.agg(
        n=("n", "sum"),
        reached=("reached", "sum"),
        diverged=("failed", "sum"),
        earliest=("when", "min"),
        latest=("when", "max"),
        observed=("end", "max"),
    ).reset_index()
    step, reached = times["step"].to_numpy(), times["reached"].to_numpy(bool)
    places = (groups.indices[key] for key in zip(table["network"], table["depth"], strict=True))
    table["median"] = np.array([_median(step[at], reached[at]) for at in places], float)
    return table[[*KEYS, "n", "reached", "diverged", "median", "earliest", "latest", "observed"]]


def reach_curves(times: pd.DataFrame) -> pd.DataFrame:
    """Return the Kaplan-Meier curve of each network and depth of `reach_times`.

    Columns: network, depth; step; reached, the estimated fraction of runs that have reached the level by this
    step, 0 at step 0; at_risk, the runs that were observed and had not reached it before this step; censored,
    how many are censored at it."""
    frames = []
    for _, group in times.groupby(KEYS, sort=False):
        step, reached = group["step"].to_numpy(), group["reached"].to_numpy(bool)
        at, fraction = _curve(step, reached)
        numbers = {
            "step": at,
            "reached": fraction,
            "at_risk": [int((step >= each).sum()) for each in at],
            "censored": [int((step[~reached] == each).sum()) for each in at],
        }
        frames.append(pd.DataFrame(numbers).assign(**group.iloc[0][KEYS]))
    columns = [*KEYS, "step", "reached", "at_risk", "censored"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def _curve(step: np.ndarray, reached: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps at which runs reach the level or are censored, from 0 on, and the fraction by each."""
    from scipy import stats

    sample = stats.CensoredData(uncensored=step[reached], right=step[~reached])
    estimate = stats.ecdf(sample).cdf
    at, fraction = estimate.quantiles, estimate.probabilities
    return np.append(0, at).astype(int), np.append(0.0, fraction)


def _median(step: np.ndarray, reached: np.ndarray) -> float:
    """Return the first step by which half of the runs have reached the level, NaN if there is none."""
    if not reached.any():
        return np.nan
    at, fraction = _curve(step, reached)
    half = at[fraction >= 0.5 - ROUNDING]
    return float(half[0]) if len(half) else np.nan


def evaluated_steps(runs: pd.DataFrame, history: pd.DataFrame) -> list[int]:
    """List the steps at which any of the runs was evaluated."""
    known = history.dropna(subset=[COLUMN])
    return sorted(int(step) for step in known.loc[known["run_id"].isin(runs["run_id"]), "step"].unique())
