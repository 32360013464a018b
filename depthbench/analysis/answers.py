"""The answers of a study: is there degradation, and do residual connections remove it?

`verdict.judge` tests every pair of depths. Here one test is chosen for each network and pair of twins."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from depthbench.analysis.intervals import POINTS, mean_interval
from depthbench.analysis.power import seeds_to_decide
from depthbench.analysis.rows import rows_of
from depthbench.analysis.verdict import LEAST_SEEDS, LEVEL, Verdicts, decide, widest

FEW_SEEDS = 5  # with fewer, the trend test decides, because it does not assume normal errors
T_TEST, TREND_TEST, SIGN_FLIP_TEST = "paired t test", "Page's trend test", "sign-flip test"
BEST_VALUE_TEST = "paired t tests at every value of a sweep"
AT_CHANCE = "at chance"


@dataclass(frozen=True)
class Answer:
    """The answer for a network, or for a pair of twins if `residual` is set."""

    network: str
    verdict: str
    """present, absent, inconclusive, or AT_CHANCE for a network that has learnt nothing at any depth.

    For twins, `present` means that the residual network removes the degradation, and AT_CHANCE means that one
    of the two has learnt nothing at any depth."""
    residual: str = ""
    """The residual twin."""
    shallow: int = 0
    deep: int = 0
    n: int = 0
    """Number of seeds that have both depths."""
    effect: float = np.nan
    """Mean rise of the error from shallow to deep (percentage points); of twins, the rise of the plain one
    minus that of the residual one."""
    low: float = np.nan
    high: float = np.nan
    """The 95 % interval of the effect; NaN below 5 seeds (`intervals.mean_interval`)."""
    least: float = np.nan
    greatest: float = np.nan
    """The range of the effect over the seeds."""
    upper: float = np.nan
    """The one-sided 95 % upper bound of the effect, on which the verdict `absent` rests."""
    p: float = np.nan
    test: str = ""
    """The test that decides: T_TEST, TREND_TEST, SIGN_FLIP_TEST or BEST_VALUE_TEST."""
    diverged: int = 0
    """Number of diverged runs compared."""
    is_removed: bool | None = None
    """Of twins: whether the residual network degrades no more (True), only less (False), or it is unknown."""
    is_shown: bool = True
    """Of twins: whether degradation of the plain network is shown at all."""
    seeds_needed: int | None = None
    """For an inconclusive verdict: the seeds that would decide it (`power.seeds_to_decide`), if any number
    does."""


def answer(judged: Verdicts, untrained: Collection[str] = ()) -> list[Answer]:
    """Return the answer for each network in `judged`, and for each pair of twins below its residual network.

    A network or pair of twins is judged by the widest pair of depths with enough seeds. If there are fewer
    than 5 seeds or a run diverged, Page's trend test decides if three depths have these seeds, because a t
    test needs roughly normal errors. Otherwise the sign-flip test decides if a run diverged and there are
    enough seeds for it to reach p <= 0.05. Otherwise the paired t test decides. The last two are corrected
    over the pairs of depths. `untrained`: the networks at chance at every depth, which come last. A pair of
    twins with such a network is AT_CHANCE and comes below the other one."""
    trends = {(row["network"], row["residual"]): row for row in rows_of(judged.trends)}
    networks: dict[str, Answer] = {}
    for network, rows in judged.degradation.groupby("network", sort=False):
        if network not in untrained and (found := _answer(rows_of(rows), trends, judged.margin)):
            networks[str(network)] = found
    networks |= {network: Answer(network, AT_CHANCE) for network in untrained}
    below: dict[str, list[Answer]] = {network: [] for network in networks}
    for (plain, residual), rows in judged.removals.groupby(["network", "residual"], sort=False):
        if plain not in networks or residual not in networks:  # one has no seed with two depths
            continue
        if plain in untrained or residual in untrained:
            below[plain if residual in untrained else residual].append(Answer(plain, AT_CHANCE, residual))
        elif found := _answer(rows_of(rows), trends, judged.margin):
            below[residual].append(_of_twins(found, networks[plain], networks[residual]))
    return [each for network, found in networks.items() for each in (found, *below[network])]


def answer_at_best(verdicts: pd.DataFrame, margin: float) -> list[Answer]:
    """Return the answer for each network of a sweep, at the best value of each depth.

    A network with one seed has none, because the best value for a seed is chosen by other seeds. verdicts:
    `sweep.degradation_at_best`. margin: percentage points."""
    found = []
    for _, rows in verdicts.groupby("network", sort=False):
        pairs = rows_of(rows[rows["n"] > 1])
        if each := _answer([pair | {"diverged": 0} for pair in pairs], {}, margin):
            row = widest(pairs)
            found.append(replace(each, test=BEST_VALUE_TEST, diverged=row["diverged"] if row else 0))
    return found


def _answer(
    pairs: list[dict[str, Any]], trends: Mapping[tuple[str, str], Mapping[str, Any]], margin: float
) -> Answer | None:
    """Return the answer for the rows of one network or pair of twins. None if no seed has two depths."""
    row = widest(pairs)
    if row is None:
        return None
    network, residual = row["network"], row.get("residual", "")
    trend = trends.get((network, residual))
    tested = len(pairs)
    has_outlier = any(pair["diverged"] for pair in pairs)
    test, p, verdict = T_TEST, row["p_holm"], row["verdict"]
    if trend and trend["n"] == row["n"] and (row["n"] < FEW_SEEDS or has_outlier):
        test, p, verdict = TREND_TEST, trend["p"], trend["verdict"]
        tested = 1 if has_outlier else tested  # with more seeds, the t test decides again
    elif row["diverged"] and 0.5 ** row["n"] * sum(pair["n"] >= LEAST_SEEDS for pair in pairs) <= LEVEL:
        test, p = SIGN_FLIP_TEST, row["p_sign_flip_holm"]
        verdict = decide(n=row["n"], mean=row["mean"], upper=row["upper"], p=p, margin=margin)
    values = np.array(list(row["differences"].values()), float)
    low, high = mean_interval(values, POINTS)
    return Answer(
        network=network,
        residual=residual,
        verdict=verdict,
        effect=row["mean"],
        low=low,
        high=high,
        least=float(values.min()),
        greatest=float(values.max()),
        p=p,
        test=test,
        seeds_needed=(
            seeds_to_decide(values, margin, tested, uncorrected_below=FEW_SEEDS if test == TREND_TEST else 0)
            if verdict == "inconclusive"
            else None
        ),
        **{key: row[key] for key in ("shallow", "deep", "n", "upper", "diverged")},
    )


def _of_twins(found: Answer, plain: Answer, residual: Answer) -> Answer:
    """Add what the answers of the two networks say about the answer of their pair of twins."""
    is_removed = None
    if found.verdict == "present" and residual.verdict != "inconclusive":
        is_removed = residual.verdict == "absent"
    return replace(found, is_removed=is_removed, is_shown=plain.verdict == "present")
