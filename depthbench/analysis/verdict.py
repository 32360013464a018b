"""Verdicts: do deeper networks train worse here, and do residual connections remove the degradation?

Errors are paired by seed: D is the error at the deeper depth minus the error at the shallower one. `present`:
the one-sided paired t test, Holm-corrected over the pairs of depths of a network, gives p <= 0.05, and the
mean D is at least the margin. `absent`: the one-sided 95 % upper bound of the mean D is below the margin.
Otherwise, or with fewer than 3 seeds, the verdict is `inconclusive`. The error of a run is the mean of its
last evaluations: at most five, and only from the last quarter of training. A diverged run counts at chance
error.

scipy.stats is imported only for Page's test, because the import takes most of a second."""

from collections.abc import Sequence
from functools import cache
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from depthbench.analysis import FINISHED
from depthbench.analysis.rows import rows_of
from depthbench.networks import NETWORKS
from depthbench.networks.architectures import HE2015_CIFAR_STEPS

LEVEL = 0.05
LEAST_SEEDS = 3  # with fewer, every verdict is inconclusive
EVALUATIONS, LAST_PART = 5, 0.25  # an error is the mean of at most 5 evaluations, from the last quarter
PAIRED = ["network", "depth", "seed", "status", "error"]
RESAMPLES = 9999  # random sign patterns of more seeds than can be listed
Ends = dict[int, tuple[float, str]]  # seed -> error and status
ROUNDING = 1e-9  # percentage points
FULL_RECIPE = HE2015_CIFAR_STEPS  # a recipe with at least as many steps counts as full
FULL_MARGIN, SHORT_MARGIN = 0.5, 1.0  # percentage points


class Verdicts(NamedTuple):
    """The verdicts on one kind of error; see `degradation`, `trends` and `removals`."""

    margin: float
    degradation: pd.DataFrame
    trends: pd.DataFrame
    removals: pd.DataFrame


def judge(runs: pd.DataFrame, history: pd.DataFrame, column: str, margin: float | None = None) -> Verdicts:
    """Return all verdicts on `column`, train_error_eval or test_error.

    margin: percentage points; None uses the default for the number of steps of the runs."""
    errors = last_errors(runs, history, column)
    if margin is None:
        margin = default_margin(pd.to_numeric(runs["steps"], errors="coerce").max())
    return Verdicts(margin, degradation(errors, margin), trends(errors, margin), removals(errors, margin))


def default_margin(steps: int) -> float:
    """Return the margin (percentage points) of a study that sets none: 0.5 for a full recipe, else 1."""
    return FULL_MARGIN if steps >= FULL_RECIPE else SHORT_MARGIN


def budget(runs: pd.DataFrame) -> tuple[int, int] | None:
    """Return the fewest and the most steps of the finished runs, for which a verdict on them holds.

    Both are equal if all runs have the same number of steps. A run that stopped early, by `recipe.patience`,
    counts with the steps it made, and a diverged run with those planned. None if no run has finished."""
    finished = runs[runs["status"].isin(FINISHED)]
    made, planned = (pd.to_numeric(finished[key], errors="coerce") for key in ("step", "steps"))
    steps = made.where(finished["status"] == "done", planned).fillna(planned).dropna()
    return (int(steps.min()), int(steps.max())) if len(steps) else None


def last_errors(runs: pd.DataFrame, history: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the finished runs with their `error` (percent).

    This is the mean of `column` over the last evaluations: at most five, and only from the last quarter of
    training (the last evaluation always counts). A diverged run has chance error. Columns: network, family,
    depth, seed, status, error, and the settings of each run."""
    finished = runs[runs["status"].isin(FINISHED)].copy()
    rows = history.dropna(subset=[column]).sort_values("step")
    planned = pd.to_numeric(finished.set_index("run_id")["steps"])  # None if not recorded
    steps = planned.reindex(rows["run_id"]).to_numpy(float)
    settled = rows["step"] > (1 - LAST_PART) * steps
    last = rows["step"] == rows.groupby("run_id")["step"].transform("max")
    means = rows[settled | last].groupby("run_id")[column].apply(lambda e: e.tail(EVALUATIONS).mean())
    final = pd.to_numeric(finished[column], errors="coerce")  # at chance for a diverged run
    ends = finished["run_id"].map(means).fillna(final)  # also for an unreadable history
    finished["error"] = ends.where(finished["status"] == "done", final)
    settings = [key for key in map(str, finished) if key.startswith(("options.", "recipe."))]
    return finished.dropna(subset=["error"])[
        ["network", "family", "depth", "seed", "status", *settings, "error"]
    ]


def degradation(errors: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Return a row for each network and pair of depths: does the deeper one train worse?

    errors: `last_errors`. margin: percentage points. Columns: network, shallow, deep; n, the number of seeds
    that both depths have; differences, {seed: D}; mean, of D; upper, the one-sided 95 % upper bound of the
    mean; p, of the one-sided paired t test; p_holm, p corrected over the pairs of a network; p_sign_flip, of
    the exact sign-flip test; diverged, the number of diverged runs compared; verdict."""
    rows = []
    for network, group in errors[PAIRED].groupby("network", sort=False):
        ends = _ends(group)
        pairs = [
            {"network": network, "shallow": shallow, "deep": deep} | _differences(ends[shallow], ends[deep])
            for shallow, deep in combinations(ends, 2)
        ]
        rows += _judged(pairs, margin)
    return _frame(rows, ["network", "shallow", "deep"])


def trends(errors: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Return a row for each network with three or more depths: does its error rise with depth?

    The test is Page's trend test (Page 1963), which does not assume normal errors. Its blocks are the seeds
    that have both depths of the widest pair (see `widest`). Its treatments are these two depths and every
    depth between them that all these seeds have. `present`: p <= 0.05, and the mean rise from the shallowest
    to the deepest depth is at least the margin. `absent`: the one-sided 95 % upper bound of the mean rise is
    below the margin. Columns: network; depths; n, the number of seeds; differences, {seed: rise}; rise, the
    mean (percentage points); upper, its bound; p; diverged, the number of diverged runs tested; verdict."""
    rows = []
    for network, group in errors[PAIRED].groupby("network", sort=False):
        table = group.pivot_table(index="seed", columns="depth", values="error")  # (seeds, depths)
        shared = [
            {"shallow": shallow, "deep": deep, "n": int(table[[shallow, deep]].notna().all(axis=1).sum())}
            for shallow, deep in combinations(table, 2)
        ]
        pair = widest(shared)
        if pair is None:
            continue
        table = table.dropna(subset=[pair["shallow"], pair["deep"]]).loc[:, pair["shallow"] : pair["deep"]]
        table = table.dropna(axis="columns")
        if table.shape[1] < 3:
            continue
        rises = (table.iloc[:, -1] - table.iloc[:, 0]).to_numpy(float)
        p = np.nan
        if len(table) >= 2 and (table.nunique(axis=1) > 1).any():
            from scipy import stats

            p = stats.page_trend_test(table.to_numpy(float)).pvalue
        rise, upper = _mean(rises), _upper(rises)
        tested = group[group["seed"].isin(table.index) & group["depth"].isin(table.columns)]
        rows.append(
            {
                "network": network,
                "depths": list(table),
                "n": len(table),
                "differences": dict(zip(table.index, rises, strict=True)),
                "rise": rise,
                "upper": upper,
                "p": p,
                "diverged": int((tested["status"] == "diverged").sum()),
                "verdict": decide(n=len(table), mean=rise, upper=upper, p=p, margin=margin),
            }
        )
    columns = ["network", "depths", "n", "differences", "rise", "upper", "p", "diverged", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def removals(errors: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Return a row for each pair of twins and pair of depths: is the degradation removed?

    The test is that of `degradation`, on D of the plain network minus D of the residual one, paired by seed
    and corrected over the pairs of depths of the twins. Columns as in `degradation`, and residual, the twin
    of network."""
    rows = []
    for plain, residual in twins(errors):
        both = [_ends(errors[errors["network"] == network]) for network in (plain, residual)]
        pairs = []
        for shallow, deep in combinations(sorted(both[0].keys() & both[1].keys()), 2):
            rise, twin_rise = (_differences(ends[shallow], ends[deep]) for ends in both)
            seeds = [seed for seed in rise["differences"] if seed in twin_rise["differences"]]
            differences = {seed: rise["differences"][seed] - twin_rise["differences"][seed] for seed in seeds}
            diverged = rise["diverged"] + twin_rise["diverged"]
            pair = {"network": plain, "residual": residual, "shallow": shallow, "deep": deep}
            pairs.append(pair | {"differences": differences, "diverged": diverged})
        rows += _judged(pairs, margin)
    return _frame(rows, ["network", "residual", "shallow", "deep"])


def widest(pairs: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the pair of depths that are furthest apart, or None if no pair has a common seed.

    Each pair is a dict with shallow, deep and n, the number of seeds that have both. If any pair has enough
    seeds for a verdict, only such pairs count."""
    known = [pair for pair in pairs if pair["n"]]
    enough = [pair for pair in known if pair["n"] >= LEAST_SEEDS]
    return max(enough or known, key=lambda pair: pair["deep"] - pair["shallow"], default=None)


def twins(errors: pd.DataFrame) -> list[tuple[str, str]]:
    """List (plain, residual) networks of twin families with the same options and recipe."""
    settings = [key for key in map(str, errors) if key.startswith(("options.", "recipe."))]
    networks = rows_of(errors.drop_duplicates("network")[["network", "family", *settings]])
    return [
        (plain["network"], residual["network"])
        for plain in networks
        for residual in networks
        if (family := NETWORKS.get(plain["family"])) is not None
        and family.twin == residual["family"]
        and family.options.get("residual") is False
        and all(repr(plain[key]) == repr(residual[key]) for key in settings)
    ]


def _ends(errors: pd.DataFrame) -> dict[int, Ends]:
    """Return for each depth, the shallowest first: seed -> error and status. `errors` are of one network."""
    ends: dict[int, Ends] = {}
    for depth, seed, error, status in errors[["depth", "seed", "error", "status"]].itertuples(index=False):
        ends.setdefault(depth, {})[seed] = (error, status)
    return dict(sorted(ends.items()))


def _differences(shallow: Ends, deep: Ends) -> dict[str, Any]:
    """Return {seed: error(deep) - error(shallow)} of one network, and the number of diverged runs."""
    seeds = sorted(shallow.keys() & deep.keys())
    statuses = [end[seed][1] for end in (shallow, deep) for seed in seeds]
    return {
        "differences": {seed: deep[seed][0] - shallow[seed][0] for seed in seeds},
        "diverged": statuses.count("diverged"),
    }


def _judged(pairs: list[dict[str, Any]], margin: float) -> list[dict[str, Any]]:
    """Add to each of `pairs` its statistics and its verdict, corrected over all of them."""
    for pair in pairs:
        values = np.array(list(pair["differences"].values()), float)
        pair |= {"n": len(values), "mean": _mean(values), "upper": _upper(values)}
        pair |= {"p": _paired_t(values), "p_sign_flip": _sign_flip(values)}
    for pair, corrected in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_holm"] = corrected
        pair["verdict"] = decide(
            n=pair["n"], mean=pair["mean"], upper=pair["upper"], p=corrected, margin=margin
        )
    return pairs


def _frame(rows: list[dict[str, Any]], keys: list[str]) -> pd.DataFrame:
    numbers = ["n", "differences", "mean", "upper", "p", "p_holm", "p_sign_flip", "diverged", "verdict"]
    return pd.DataFrame(rows, columns=[*keys, *numbers])


def decide(*, n: int, mean: float, upper: float, p: float, margin: float) -> str:
    """Return the verdict on n seeds. `mean` and `upper` are in percentage points."""
    if n < LEAST_SEEDS:
        return "inconclusive"
    if p <= LEVEL and mean >= margin:
        return "present"
    return "absent" if upper < margin else "inconclusive"


def holm(values: list[float]) -> list[float]:
    """Correct p values for their number (Holm 1979). NaN stays NaN and is not counted."""
    p = np.array(values, float)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known])]
    p[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return p.tolist()


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def _upper(values: np.ndarray) -> float:
    """Return the one-sided 95 % upper bound of the mean; the mean itself if all values are equal."""
    if len(values) < 2:
        return np.nan
    sem = values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() + stdtrit(len(values) - 1, 1 - LEVEL) * sem)


def _paired_t(values: np.ndarray) -> float:
    """Return p of the one-sided test that the mean is above zero."""
    if len(values) < 2:
        return np.nan
    if np.ptp(values) <= ROUNDING:  # no spread: t is infinite, or undefined if nothing differs
        return 0.0 if values.mean() > ROUNDING else 1.0
    t = values.mean() / np.sqrt(values.var(ddof=1) / len(values))
    return float(stdtr(len(values) - 1, -t))


def _sign_flip(values: np.ndarray) -> float:
    """Return p of the one-sided test: the fraction of sign patterns with at least this mean.

    It is exact up to 13 seeds. The number and the rounding of random patterns are those of
    `scipy.stats.permutation_test`."""
    if len(values) < 2:
        return np.nan
    patterns, is_exact = _sign_patterns(len(values))
    mean = values.mean()
    rounding = abs(100 * np.finfo(float).eps * mean)
    count = np.count_nonzero((patterns * values).mean(axis=1) >= mean - rounding)
    return float(count / len(patterns) if is_exact else (count + 1) / (len(patterns) + 1))


@cache
def _sign_patterns(n: int) -> tuple[np.ndarray, bool]:
    """Return sign patterns (patterns, n), and whether they are all: random ones for more than 13 values."""
    if 2**n <= RESAMPLES:
        return np.array(list(product((1, -1), repeat=n)), np.int8), True
    choices = np.tile(np.arange(2), (RESAMPLES, n, 1))
    return 1 - 2 * np.random.default_rng(0).permuted(choices, axis=-1)[..., 0].astype(np.int8), False
