"""What causes degradation? Interventions against symptoms and outcome.

A study trains a baseline and variants that change one thing, at two depths or more. If plain networks still
degrade where a symptom is absent, the symptom is not necessary for degradation. If they do not degrade where
it is present, it is not sufficient. A symptom that occurs with degradation may have a common cause with it.

Symptoms of a run, in its hidden layers:
- the early gradient explodes: the norm of dL/dz of the first layer is more than EXPLODED times that of the
  last one at a probed step of the early phase;
- weights grow: the norm of a layer's weights is more than GROWN times the initial one at any probed step (at
  low learning rates, weights grow after the early phase);
- the gradient vanishes: the norm of dL/dz of the first layer is less than VANISHED times that of the last one
  at any probed step.
The early phase is the first tenth (EARLY) of the steps, and at least START steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from depthbench.analysis.answers import AT_CHANCE, Answer
from depthbench.analysis.deviations import baselines
from depthbench.analysis.diagnosis import GRADIENTS, relative_gradients
from depthbench.analysis.layers import CLASSIFIER, START
from depthbench.analysis.rows import rows_of
from depthbench.analysis.twins import is_residual
from depthbench.analysis.verdict import twins

EXPLODED = 100.0
"""In the quick study, this ratio of gradients starts at 4 to 20 in residual networks of 20 to 110 layers. In
plain ones it starts at 8 (20 layers), 2e3 (56) and 3e6 (110)."""
VANISHED = 1 / EXPLODED
GROWN = 2.0
"""Batch normalisation divides the gradient by the norm of the weights, so twice the norm halves it. In
the quick study, no layer of a network that trains grows by more than a factor of 1.3."""
EARLY = 0.1

SYMPTOMS = {"explosion": "explodes", "growth": "grows", "least": "vanishes"}
"""Column of the value that is judged -> column of whether a run has the symptom."""


def symptoms(runs: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Return the symptoms of each run with probed layers, as the docstring of this module defines them.

    The arguments are tables of `Results`; layers has the rows of weighted layers. Columns: run_id;
    explosion, the largest relative gradient of the first layer in the early phase; growth, the largest factor
    by which a layer's weights grow; least, the smallest relative gradient at any step; explodes, grows
    and vanishes, whether these are beyond the bounds; any, whether one of them is. What was not probed is NaN
    or None, and so is `any` if it depends on that."""
    steps = pd.to_numeric(runs["steps"], errors="coerce").to_numpy(float)
    early = dict(zip(runs["run_id"], np.maximum(EARLY * steps, START).tolist(), strict=True))
    hidden = layers[layers["stage"] != CLASSIFIER]
    values = {name: pd.Series(dtype=float) for name in SYMPTOMS}
    if GRADIENTS[0] in layers:
        ratios = relative_gradients(layers)
        is_early = ratios["step"] <= ratios["run_id"].map(early)
        values["explosion"] = ratios[is_early].groupby("run_id")["ratio"].max()
        values["least"] = ratios.groupby("run_id")["ratio"].min()
    if "weight_norm" in layers:
        values["growth"] = _growth(hidden)
    table = pd.DataFrame({"run_id": list(dict.fromkeys(hidden["run_id"]))})
    for name, each in values.items():
        table[name] = table["run_id"].map(each.to_dict()).astype(float)
    beyond = {
        "explodes": table["explosion"] > EXPLODED,
        "grows": table["growth"] > GROWN,
        "vanishes": table["least"] < VANISHED,
    }
    known = {
        symptom: beyond[symptom].astype(object).mask(table[value].isna(), None)
        for value, symptom in SYMPTOMS.items()
    }
    table = table.assign(**known)
    flags = table[list(known)]
    is_any = (flags == True).any(axis=1)  # noqa: E712 - may be None
    return table.assign(any=is_any.astype(object).mask(~is_any & flags.isna().any(axis=1), None))


def _growth(hidden: pd.DataFrame) -> pd.Series:
    """Return the largest factor by which a layer's weights grow from step 0, by run id."""
    keys = ["run_id", "layer"]
    start = hidden[(hidden["step"] == 0) & (hidden["weight_norm"] > 0)]
    pairs = hidden.merge(start[[*keys, "weight_norm"]], on=keys, suffixes=("", "_start"))
    factors = pairs["weight_norm"] / pairs["weight_norm_start"]
    return factors.groupby(pairs["run_id"]).max()


def causes(
    runs: pd.DataFrame,
    layers: pd.DataFrame,
    errors: pd.DataFrame,
    *,
    answers: Sequence[Answer],
    study: Mapping[str, Any],
) -> pd.DataFrame:
    """Return a row for each intervention: its symptoms at the deepest depth, its errors and the verdict.

    An intervention is a variant with a baseline, or a baseline itself. It has a row if it has a verdict,
    which needs two depths. runs and layers: those of `symptoms`. errors: `verdict.last_errors` of the train
    error. answers: those of the study. Columns:
    - network; baseline, or empty; residual, whether it has residual connections (None: unknown);
    - shallow, deep: the depths that the verdict compares; n, the number of seeds that have both;
    - explosion, growth and least: their geometric mean over the seeds at the deeper depth, and NAME_low to
      NAME_high, their range; explodes, grows and vanishes: the fraction of these seeds with the symptom, and
      any: with one of them (all NaN if not probed);
    - error_shallow and error_deep, the mean errors (percent); diverged, the number of diverged runs;
    - twin, the residual twin with the same settings, or empty; error_twin, its mean error at the deeper
      depth;
    - verdict, present, absent or inconclusive, or AT_CHANCE; effect, the rise of the error (points); p."""
    of = baselines(study)
    groups = {baseline: [name for name in of if of[name] == baseline] for baseline in of.values()}
    subjects = dict.fromkeys(name for baseline, group in groups.items() for name in (baseline, *group))
    found = {each.network: each for each in answers if not each.residual}
    per_run = symptoms(runs, layers) if len(layers) else pd.DataFrame()
    residual = {run["network"]: is_residual(run) for run in rows_of(runs.drop_duplicates("network"))}
    pairs: dict[str, str] = {}
    for plain, other in twins(errors):
        pairs.setdefault(plain, other)
    rows = []
    for network in subjects:
        if network not in found:
            continue
        cells = errors[errors["network"] == network]
        ends = _ends(found[network], cells)
        row: dict[str, Any] = {
            "network": network,
            "baseline": of.get(network, ""),
            "residual": residual[network],
            **ends,
        }
        of_deep = runs[(runs["network"] == network) & (runs["depth"] == ends["deep"])]
        row |= _over_seeds(per_run[per_run["run_id"].isin(of_deep["run_id"])] if len(per_run) else per_run)
        cells = cells[cells["seed"].isin(_common_seeds(cells, ends["shallow"], ends["deep"]))]
        is_end = cells["depth"].isin((ends["shallow"], ends["deep"]))
        row |= {
            "error_shallow": _mean(cells, ends["shallow"]),
            "error_deep": _mean(cells, ends["deep"]),
            "diverged": int((cells[is_end]["status"] == "diverged").sum()),
            "twin": (twin := pairs.get(network, "")),
            "error_twin": _mean(errors[errors["network"] == twin], ends["deep"]),
        }
        answer = found[network]
        rows.append(row | {"verdict": answer.verdict, "effect": answer.effect, "p": answer.p})
    values = [f"{name}{end}" for name in SYMPTOMS for end in ("", "_low", "_high")]
    columns = ["network", "baseline", "residual", "shallow", "deep", "n", *values, *SYMPTOMS.values(), "any"]
    columns += ["error_shallow", "error_deep", "diverged", "twin", "error_twin", "verdict", "effect", "p"]
    return pd.DataFrame(rows, columns=columns)


def _ends(answer: Answer, cells: pd.DataFrame) -> dict[str, int]:
    """Return the two depths of an answer, and the number of seeds that have both."""
    if answer.verdict != AT_CHANCE:
        return {"shallow": answer.shallow, "deep": answer.deep, "n": answer.n}
    shallow, deep = int(cells["depth"].min()), int(cells["depth"].max())
    return {"shallow": shallow, "deep": deep, "n": len(_common_seeds(cells, shallow, deep))}


def _common_seeds(cells: pd.DataFrame, shallow: int, deep: int) -> set[int]:
    """Return the seeds that both depths have."""
    first, second = (set(cells.loc[cells["depth"] == depth, "seed"]) for depth in (shallow, deep))
    return first & second


def _mean(cells: pd.DataFrame, depth: int) -> float:
    """Return the mean error at a depth; NaN without runs."""
    return float(cells.loc[cells["depth"] == depth, "error"].mean())


def _over_seeds(per_run: pd.DataFrame) -> dict[str, float]:
    """Return the columns of `causes` on the symptoms of the runs of one network and depth."""
    row: dict[str, float] = {}
    for name, symptom in SYMPTOMS.items():
        known = per_run.dropna(subset=[name]) if len(per_run) else per_run
        if known.empty:
            row |= dict.fromkeys((name, f"{name}_low", f"{name}_high", symptom), np.nan)
            continue
        values = known[name].to_numpy(float)
        with np.errstate(divide="ignore"):  # a gradient of 0
            mean = float(np.exp(np.log(values).mean()))
        row |= {name: mean, f"{name}_low": float(values.min()), f"{name}_high": float(values.max())}
        row[symptom] = float(known[symptom].astype(bool).mean())
    flags = per_run["any"].dropna().to_numpy(bool) if len(per_run) else np.array([])
    row["any"] = float(flags.mean()) if len(flags) else np.nan
    return row


def tally(table: pd.DataFrame) -> pd.DataFrame:
    """Return how many interventions without residual connections degrade, with each symptom and without it.

    table: `causes`. An intervention has a symptom if every seed has it, and lacks it if no seed does; others
    are left out, and so are networks at chance at every depth, which cannot degrade. Columns: symptom, of
    SYMPTOMS or `any`; has, whether the interventions have it; total, present and absent, their number, and
    how many have each verdict; names, the interventions whose outcome the symptom does not explain: those
    that have it and do not degrade, or lack it and degrade."""
    judged = table[(table["residual"] == False) & (table["verdict"] != AT_CHANCE)]  # noqa: E712 - may be None
    flags = judged[list(SYMPTOMS.values())].astype(float)
    flags["any"] = judged["any"].astype(float)
    rows = []
    for symptom in flags:
        for has in (True, False):
            group = judged[flags[symptom] == float(has)]
            counts = {verdict: int((group["verdict"] == verdict).sum()) for verdict in ("present", "absent")}
            against = group[group["verdict"] == ("absent" if has else "present")]
            row = {"symptom": symptom, "has": has, "total": len(group), **counts}
            rows.append(row | {"names": tuple(against["network"])})
    return pd.DataFrame(rows, columns=["symptom", "has", "total", "present", "absent", "names"])
