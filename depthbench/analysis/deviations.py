"""What does each change of a network cost? Variants that deviate from a baseline, compared seed by seed.

A variant of a study names its baseline (`study.model.Variant`). A comparison of one change at a time does not
show how changes act together."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from depthbench.analysis.comparison import difference
from depthbench.analysis.rows import rows_of
from depthbench.analysis.summary import ERRORS
from depthbench.analysis.verdict import holm, last_errors

SECTIONS = ("options", "recipe", "data")  # of a study, with keys that a variant can set


def baselines(study: Mapping[str, Any]) -> dict[str, str]:
    """Map each variant of a study that deviates from a baseline to this baseline, in the study's order.

    study: the content of study.toml."""
    return {
        name: variant["baseline"]
        for name, variant in study.get("variants", {}).items()
        if variant.get("baseline")
    }


def changes(study: Mapping[str, Any], network: str, baseline: str) -> dict[str, tuple[Any, Any]]:
    """Return the settings in which a network differs from its baseline: key -> (its value, the baseline's).

    Keys have their section, e.g. recipe.lr; `of` is the family and `budget` a multiple of the steps. A value
    that is not set is None."""
    own, other = _settings(study, network), _settings(study, baseline)
    keys = dict.fromkeys([*own, *other])
    for settings in (own, other):
        for section, _, name in (key.partition(".") for key in keys):
            if name:
                settings.setdefault(f"{section}.{name}", study.get(section, {}).get(name))
    return {key: (own[key], other[key]) for key in keys if own[key] != other[key]}


def _settings(study: Mapping[str, Any], network: str) -> dict[str, Any]:
    """Return the own settings of a network, by dotted key."""
    variant = study.get("variants", {}).get(network, {})
    return {
        "of": variant.get("of", network),
        "budget": variant.get("budget", 1.0),
        **{f"{name}.{key}": value for name in SECTIONS for key, value in variant.get(name, {}).items()},
    }


def deviations(runs: pd.DataFrame, history: pd.DataFrame, study: Mapping[str, Any]) -> pd.DataFrame:
    """Return a row for each kind of error, variant and depth: its error minus that of its baseline.

    runs and history: those of `Results`. study: the content of study.toml. Errors (percent) come from
    `verdict.last_errors`: the mean of the last evaluations, or chance error for a diverged run. Columns:
    - error, `train error` or `test error`; network, baseline, depth;
    - n, the number of seeds that both have; first and other, the mean errors of the baseline and the variant
      over these seeds; differences, {seed: D}, where D is the variant's error minus the baseline's;
    - mean, low and high, the mean of D (percentage points) and its 95 % interval (NaN below 5 seeds); p, of
      the two-sided paired t test; p_holm, corrected over the variants of a baseline at this depth, for this
      kind of error; both NaN below 3 seeds;
    - diverged, the number of diverged runs compared."""
    rows: list[dict[str, Any]] = []
    for column, error in ERRORS.items():
        if column not in history:
            continue
        errors = last_errors(runs, history, column)[["network", "depth", "seed", "status", "error"]]
        for network, baseline in baselines(study).items():
            first, other = (errors[errors["network"] == name] for name in (baseline, network))
            pairs = first.merge(other, on=["depth", "seed"], suffixes=("_first", "_other"))
            keys = {"error": error, "network": network, "baseline": baseline}
            rows += [keys | {"depth": depth} | _compared(group) for depth, group in pairs.groupby("depth")]
    columns = ["error", "network", "baseline", "depth", "n", "first", "other", "differences", "mean", "low"]
    table = pd.DataFrame(rows, columns=[*columns, "high", "p", "p_holm", "diverged"])
    for _, group in table.groupby(["error", "baseline", "depth"], sort=False):
        table.loc[group.index, "p_holm"] = holm(group["p"].tolist())
    return table


def _compared(pairs: pd.DataFrame) -> dict[str, Any]:
    """Return the statistics of the differences between paired runs."""
    d = (pairs["error_other"] - pairs["error_first"]).to_numpy(float)
    return {
        "n": len(d),
        "first": float(pairs["error_first"].mean()),
        "other": float(pairs["error_other"].mean()),
        "differences": dict(zip(pairs["seed"], d.tolist(), strict=True)),
        **difference(d),
        "diverged": int((pairs[["status_first", "status_other"]] == "diverged").to_numpy().sum()),
    }


def largest_first(table: pd.DataFrame, error: str) -> list[dict[str, Any]]:
    """Return the rows of `deviations` for one kind of error, by baseline and depth, largest first."""
    rows = table[table["error"] == error].sort_values("mean", ascending=False, kind="stable")
    order = list(dict.fromkeys(zip(table["baseline"], table["depth"], strict=True)))
    return sorted(rows_of(rows), key=lambda row: order.index((row["baseline"], row["depth"])))
