"""The answers of a study: is there degradation, and do residual connections remove it?

`verdict.judge` tests every pair of depths. Here one test is chosen for each network and pair of twins."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from depthbench.analysis.intervals import POINTS, mean_interval
from depthbench.analysis.power import seeds_to_decide
from depthbench.analysis.rows import rows_of
from depthbench.analysis.verdict import Verdicts, decide, widest

FEW_SEEDS = 5  # with fewer, the trend test decides, because it does not assume normal errors
AT_CHANCE = "at chance"


@dataclass(frozen=True)
class Answer:
    """The answer for a network, or for a pair of twins if `residual` is set."""

    network: str
    verdict: str
    """present, absent, inconclusive; AT_CHANCE for a network that has learnt nothing at any depth.

    Of twins: whether the residual network removes the degradation, with `present` meaning that it does."""
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
    """The test that decides: `paired t test`, `Page's trend test` or `sign-flip test`."""
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

    A network is judged by the widest pair of depths with enough seeds. If there are fewer than 5 seeds or a
    run diverged, the trend test decides if it covers as many seeds, because a t test needs roughly normal
    errors. Otherwise the sign-flip test decides if one of at least 5 seeds diverged. `untrained`: the
    networks at chance at every depth, which come last."""
    trends = {row["network"]: row for row in rows_of(judged.trends)}
    answers = {
        str(network): _of_network(rows_of(rows), trends.get(network), judged.margin)
        for network, rows in judged.degradation.groupby("network", sort=False)
        if network not in untrained
    }
    ordered: list[Answer] = []
    removals = [
        _of_twins(rows_of(rows), answers, judged.margin)
        for _, rows in judged.removals.groupby(["network", "residual"], sort=False)
    ]
    for network, found in answers.items():
        if found is not None:
            ordered.append(found)
        ordered += [each for each in removals if each is not None and each.residual == network]
    return ordered + [Answer(network, AT_CHANCE) for network in untrained]


def _of_network(pairs: list[dict[str, Any]], trend: Mapping[str, Any] | None, margin: float) -> Answer | None:
    row = widest(pairs)
    if row is None:
        return None
    has_outlier = any(pair["diverged"] for pair in pairs)
    test, p, verdict, upper = "paired t test", row["p_holm"], row["verdict"], row["upper"]
    if trend and trend["n"] == row["n"] and (row["n"] < FEW_SEEDS or has_outlier):
        test, p, verdict, upper = "Page's trend test", trend["p"], trend["verdict"], trend["upper"]
        row = dict(row) | {"mean": trend["rise"], "differences": trend["differences"]}
    elif row["diverged"] and row["n"] >= FEW_SEEDS:
        test, p = "sign-flip test", row["p_sign_flip"]
        verdict = decide(n=row["n"], mean=row["mean"], upper=row["upper"], p=p, margin=margin)
    tested = 1 if test == "Page's trend test" else len(pairs)
    return Answer(
        network=row["network"],
        verdict=verdict,
        upper=upper,
        p=p,
        test=test,
        **_effect(row, verdict, margin, tested),
    )


def _of_twins(
    pairs: list[dict[str, Any]], answers: Mapping[str, Answer | None], margin: float
) -> Answer | None:
    row = widest(pairs)
    if row is None or row["network"] not in answers:
        return None
    plain, residual = (answers.get(row[key]) for key in ("network", "residual"))
    is_removed = None
    if row["verdict"] == "present" and residual is not None and residual.verdict != "inconclusive":
        is_removed = residual.verdict == "absent"
    return Answer(
        network=row["network"],
        residual=row["residual"],
        verdict=row["verdict"],
        upper=row["upper"],
        p=row["p_holm"],
        test="paired t test",
        is_removed=is_removed,
        is_shown=plain is not None and plain.verdict == "present",
        **_effect(row, row["verdict"], margin, len(pairs)),
    )


def _effect(row: Mapping[str, Any], verdict: str, margin: float, tested: int) -> dict[str, Any]:
    """Return the fields of an answer about the effect of a row of `verdict.degradation`."""
    values = np.array(list(row["differences"].values()), float)
    low, high = mean_interval(values, POINTS)
    return {
        **{key: row[key] for key in ("shallow", "deep", "n", "diverged")},
        "effect": row["mean"],
        "low": low,
        "high": high,
        "least": float(values.min()) if len(values) else np.nan,
        "greatest": float(values.max()) if len(values) else np.nan,
        "seeds_needed": seeds_to_decide(values, margin, tested) if verdict == "inconclusive" else None,
    }
