"""Verdicts: do deeper networks train worse here, and do residual connections remove the degradation?

Errors are paired by seed: D is the error at the deeper depth minus the error at the shallower one. `present`:
the one-sided paired t test, Holm-corrected over the pairs of depths of a network, gives p <= 0.05, and the
mean D is at least the margin. `absent`: the one-sided 95 % upper bound of the mean D is below the margin.
Otherwise, or with fewer than 3 seeds, the verdict is `inconclusive`. The error of a run is the mean of its
last evaluations: at most five, and only from the last quarter of training. A diverged run counts at chance
error. `analysis.answers` chooses the test that decides for a network or a pair of twins. Each network is
judged on its own, so p is not corrected over networks.

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
from depthbench.analysis.twins import STATED, are_twins, shared_settings
from depthbench.networks.families.cifar import HE2015_CIFAR_STEPS

LEVEL = 0.05
LEAST_SEEDS = 3  # with fewer, every verdict is inconclusive
EVALUATIONS, LAST_PART = 5, 0.25  # an error is the mean of at most 5 evaluations, from the last quarter
PAIRED = ["network", "depth", "seed", "status", "error"]
RESAMPLES = 9999  # random sign patterns of more seeds than can be listed
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
    settings = shared_settings(finished)
    settings += [column for column in STATED if column in finished]
    return finished.dropna(subset=["error"])[
        ["network", "family", "depth", "seed", "status", *settings, "error"]
    ]


def degradation(errors: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Return a row for each network and pair of depths: does the deeper one train worse?

    errors: `last_errors`. margin: percentage points. Columns: network, shallow, deep; n, the number of seeds
    that both depths have; differences, {seed: D}; mean, of D; upper, the one-sided 95 % upper bound of the
    mean; p, of the one-sided paired t test; p_sign_flip, of the exact sign-flip test; p_holm and
    p_sign_flip_holm, corrected over the pairs of a network; diverged, the number of diverged runs compared;
    verdict, by p_holm. With fewer than 3 seeds no verdict is possible, so there is no p, and the pair does
    not count in the correction."""
    rows = [row for subject in _networks(errors) for row in _judged(subject, margin)]
    return _frame(rows, ["network", "shallow", "deep"])


def removals(errors: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Return a row for each pair of twins and pair of depths: is the degradation removed?

    The tests are those of `degradation`, on D of the plain network minus D of the residual one. Columns as in
    `degradation`, and residual, the twin of network."""
    rows = [row for subject in _twins(errors) for row in _judged(subject, margin)]
    return _frame(rows, ["network", "residual", "shallow", "deep"])


def trends(errors: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Return a row for each network, and each pair of twins, with three or more depths: a rise with depth?

    For twins, the rise is that of the plain network's error minus the residual one's. The test is Page's
    trend test (Page 1963), which does not assume normal errors. Its blocks are the seeds that have both
    depths of the widest pair (see `widest`). Its treatments are these two depths and every depth between them
    that all these seeds have. `present`: p <= 0.05, and the mean rise from the shallowest to the deepest
    depth is at least the margin. `absent`: the one-sided 95 % upper bound of the mean rise is below the
    margin. Columns: network; residual, the twin of network, or empty; depths; n, the number of seeds;
    differences, {seed: rise}; rise, the mean (percentage points); upper, its bound; p, if there are 3 seeds;
    diverged, the number of diverged runs tested; verdict."""
    rows = []
    for subject in (*_networks(errors), *_twins(errors)):
        if subject.errors["depth"].nunique() < 3:
            continue
        table = subject.errors.pivot(index="seed", columns="depth", values="error")  # (seeds, depths)
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
        p = _page(table.to_numpy(float))
        rise, upper = _mean(rises), upper_bound(rises)
        tested = subject.errors["seed"].isin(table.index) & subject.errors["depth"].isin(table.columns)
        rows.append(
            {
                "residual": "",
                **subject.keys,
                "depths": list(table),
                "n": len(table),
                "differences": dict(zip(table.index, rises, strict=True)),
                "rise": rise,
                "upper": upper,
                "p": p,
                "diverged": int(subject.errors.loc[tested, "diverged"].sum()),
                "verdict": decide(n=len(table), mean=rise, upper=upper, p=p, margin=margin),
            }
        )
    columns = ["network", "residual", "depths", "n", "differences", "rise", "upper", "p", "diverged"]
    return pd.DataFrame(rows, columns=[*columns, "verdict"])


def widest(pairs: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the pair of depths that are furthest apart, or None if no pair has a common seed.

    Each pair is a dict with shallow, deep and n, the number of seeds that have both. If any pair has enough
    seeds for a verdict, only such pairs count."""
    known = [pair for pair in pairs if pair["n"]]
    enough = [pair for pair in known if pair["n"] >= LEAST_SEEDS]
    return max(enough or known, key=lambda pair: pair["deep"] - pair["shallow"], default=None)


def twins(errors: pd.DataFrame) -> list[tuple[str, str]]:
    """List (plain, residual) networks of twin families with the same options, recipe and normalisation."""
    settings = shared_settings(errors)
    stated = [column for column in STATED if column in errors]
    networks = rows_of(errors.drop_duplicates("network")[["network", "family", *stated, *settings]])
    return [
        (plain["network"], residual["network"])
        for plain in networks
        for residual in networks
        if are_twins(plain, residual) and all(repr(plain[key]) == repr(residual[key]) for key in settings)
    ]


class _Subject(NamedTuple):
    """What is tested: the errors of a network, or those of a plain network minus those of its twin."""

    keys: dict[str, str]
    """The column network. For twins also residual."""
    errors: pd.DataFrame
    """The columns depth, seed, error, and diverged, the number of diverged runs behind the error."""


def _networks(errors: pd.DataFrame) -> list[_Subject]:
    frame = errors[PAIRED].assign(diverged=(errors["status"] == "diverged").astype(int))
    return [
        _Subject({"network": str(network)}, group) for network, group in frame.groupby("network", sort=False)
    ]


def _twins(errors: pd.DataFrame) -> list[_Subject]:
    subjects = []
    alone = {subject.keys["network"]: subject.errors for subject in _networks(errors)}
    for plain, residual in twins(errors):
        both = alone[plain].merge(alone[residual], on=["depth", "seed"], suffixes=("", "_twin"))
        gaps = both[["depth", "seed"]].assign(
            error=both["error"] - both["error_twin"], diverged=both["diverged"] + both["diverged_twin"]
        )
        subjects.append(_Subject({"network": plain, "residual": residual}, gaps))
    return subjects


def _judged(subject: _Subject, margin: float) -> list[dict[str, Any]]:
    """Return the statistics and the verdict of each pair of depths, corrected over all of them."""
    at: dict[int, dict[int, tuple[float, int]]] = {}  # depth -> seed -> error, diverged
    columns = ["depth", "seed", "error", "diverged"]
    for depth, seed, error, diverged in subject.errors[columns].itertuples(index=False):
        at.setdefault(depth, {})[seed] = (error, diverged)
    pairs: list[dict[str, Any]] = []
    for shallow, deep in combinations(sorted(at), 2):
        seeds = sorted(at[shallow].keys() & at[deep].keys())
        values = np.array([at[deep][seed][0] - at[shallow][seed][0] for seed in seeds], float)
        pairs.append(
            {
                **subject.keys,
                **{"shallow": shallow, "deep": deep, "n": len(seeds)},
                "differences": dict(zip(seeds, values.tolist(), strict=True)),
                "mean": _mean(values),
                "upper": upper_bound(values),
                "p": paired_t(values),
                "p_sign_flip": _sign_flip(values),
                "diverged": sum(at[depth][seed][1] for depth in (shallow, deep) for seed in seeds),
            }
        )
    for key in ("p", "p_sign_flip"):
        for pair, corrected in zip(pairs, holm([pair[key] for pair in pairs]), strict=True):
            pair[f"{key}_holm"] = corrected
    for pair in pairs:
        pair["verdict"] = decide(
            n=pair["n"], mean=pair["mean"], upper=pair["upper"], p=pair["p_holm"], margin=margin
        )
    return pairs


def _frame(rows: list[dict[str, Any]], keys: list[str]) -> pd.DataFrame:
    numbers = ["n", "differences", "mean", "upper", "p", "p_holm", "p_sign_flip", "p_sign_flip_holm"]
    return pd.DataFrame(rows, columns=[*keys, *numbers, "diverged", "verdict"])


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


def upper_bound(values: np.ndarray) -> float:
    """Return the one-sided 95 % upper bound of the mean; the mean itself if all values are equal."""
    if len(values) < 2:
        return np.nan
    sem = values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() + stdtrit(len(values) - 1, 1 - LEVEL) * sem)


def paired_t(values: np.ndarray) -> float:
    """Return p of the one-sided test that the mean is above zero; NaN below LEAST_SEEDS."""
    if len(values) < LEAST_SEEDS:
        return np.nan
    if np.ptp(values) <= ROUNDING:  # no spread: t is infinite, or undefined if nothing differs
        return 0.0 if values.mean() > ROUNDING else 1.0
    sem = values.std(ddof=1) / len(values) ** 0.5
    return float(stdtr(len(values) - 1, -values.mean() / sem))


def _page(table: np.ndarray) -> float:
    """Return p of Page's trend test on errors (seeds, depths); NaN below LEAST_SEEDS, 1 if all seeds tie."""
    if len(table) < LEAST_SEEDS:
        return np.nan
    table = np.round(table / ROUNDING)  # differences of twins that tie up to rounding must tie
    if (np.ptp(table, axis=1) == 0).all():
        return 1.0
    from scipy import stats

    return float(stats.page_trend_test(table).pvalue)


def _sign_flip(values: np.ndarray) -> float:
    """Return p of the one-sided test: the fraction of sign patterns with at least this mean.

    NaN below LEAST_SEEDS. It is exact up to 13 seeds. For more, the random patterns are those of
    `scipy.stats.permutation_test`, which would draw them for each test."""
    if len(values) < LEAST_SEEDS:
        return np.nan
    patterns, is_exact = _sign_patterns(len(values))
    mean = values.mean()
    rounding = abs(100 * np.finfo(float).eps * mean)
    count = np.count_nonzero((patterns * values).mean(axis=1) >= mean - rounding)
    return float(count / len(patterns) if is_exact else (count + 1) / (len(patterns) + 1))


@cache
def _sign_patterns(n: int) -> tuple[np.ndarray, bool]:
    """Return sign patterns (patterns, n), and whether these are all. Above 13 values they are random."""
    if 2**n <= RESAMPLES:
        return np.array(list(product((1, -1), repeat=n)), np.int8), True
    choices = np.tile(np.arange(2), (RESAMPLES, n, 1))
    return 1 - 2 * np.random.default_rng(0).permuted(choices, axis=-1)[..., 0].astype(np.int8), False
