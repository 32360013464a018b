"""Is degradation an effect of the depth, or of one value of a setting, such as the learning rate?

A sweep trains each network at each depth with several values of a setting. Here each depth is given its own
best value, and the verdict is repeated. A seed does not choose its own value, because a choice by the same
errors would favour the depth whose errors vary most. The other seeds choose it (cross-fitting)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from depthbench.analysis.intervals import NO_BOUNDS, mean_interval
from depthbench.analysis.rows import rows_of
from depthbench.analysis.verdict import ROUNDING, decide, holm, paired_t, upper_bound

WIDE = 3.0  # a ratio of the highest and the lowest value above which values are spaced on a log scale


@dataclass(frozen=True)
class Sweep:
    """The runs of a study that differ in one setting."""

    key: str
    """The swept setting, e.g. recipe.lr."""
    cells: pd.DataFrame
    """`verdict.last_errors` with the columns value; variant, the network of the run; and network, the network
    that was swept. Its name includes the other swept settings, if there are any."""

    @property
    def is_numeric(self) -> bool:
        """Whether the values are numbers, which have an order."""
        return not any(isinstance(value, bool | str) for value in self.cells["value"])

    @property
    def is_log(self) -> bool:
        """Whether the values are numbers to be shown, and interpolated, on a logarithmic scale."""
        values = self.values
        return self.is_numeric and values[0] > 0 and values[-1] / values[0] > WIDE

    @property
    def values(self) -> list[Any]:
        """The values, sorted if they are numbers."""
        values = list(dict.fromkeys(self.cells["value"]))
        return sorted(values) if self.is_numeric else values


def sweeps(errors: pd.DataFrame, study: Mapping[str, Any]) -> list[Sweep]:
    """Return each sweep of a study: one for each setting with two or more values.

    errors: `verdict.last_errors`. study: the content of study.toml."""
    points = {
        name: variant["swept"]
        for name, variant in study.get("variants", {}).items()
        if variant.get("swept") and (errors["network"] == name).any()
    }
    values: dict[str, list[Any]] = {}
    for swept in points.values():
        for key, value in swept["values"].items():
            values.setdefault(key, []).append(value)
    return [
        Sweep(key, _cells(errors, points, key, [other for other in values if len(set(values[other])) > 1]))
        for key in values
        if len(set(values[key])) > 1
    ]


def _cells(
    errors: pd.DataFrame, points: Mapping[str, Mapping[str, Any]], key: str, varied: list[str]
) -> pd.DataFrame:
    """Return the runs with a value of `key`. varied: the keys whose values belong to the name of a
    network."""
    from depthbench.study.sweep import name_at

    of_key = {name: swept for name, swept in points.items() if key in swept["values"]}
    cells = errors[errors["network"].isin(of_key)].drop(columns=key, errors="ignore")
    names = {
        name: name_at(
            swept["network"],
            {other: value for other, value in swept["values"].items() if other != key and other in varied},
        )
        for name, swept in of_key.items()
    }
    return cells.assign(
        variant=cells["network"],
        value=[of_key[name]["values"][key] for name in cells["network"]],
        network=cells["network"].map(names),
    )


@dataclass(frozen=True)
class Swept:
    """A sweep and its analyses."""

    sweep: Sweep
    optima: pd.DataFrame
    movements: pd.DataFrame
    verdicts: pd.DataFrame
    """`degradation_at_best`."""
    is_validated: bool
    """Whether validation errors choose the best values, and not the judged errors."""


def analyse(
    errors: pd.DataFrame, validation: pd.DataFrame | None, study: Mapping[str, Any], margin: float
) -> list[Swept]:
    """Return the analysis of each sweep of a study. Arguments as for `sweeps` and `degradation_at_best`."""
    choosing = {} if validation is None else {sweep.key: sweep for sweep in sweeps(validation, study)}
    found = []
    for sweep in sweeps(errors, study):
        best, other = optima(sweep), choosing.get(sweep.key)
        verdicts = degradation_at_best(sweep, margin, other)
        found.append(Swept(sweep, best, movements(sweep, best), verdicts, other is not None))
    return found


def optima(sweep: Sweep) -> pd.DataFrame:
    """Return a row for each network and depth: the value with the lowest mean error, and how sure it is.

    Only values that every seed has are compared. Columns: network, depth; n, the number of seeds; best, the
    value with the lowest mean error, of several the middle one; error, this mean (percent); optimum, least
    and greatest, the mean and the range of the optima of single seeds (`_optimum`; numbers only); optima,
    {seed: optimum}; edge, `lowest` or `highest` if the best value is at an end of the sweep; diverged,
    {value: number of diverged runs}."""
    rows = []
    for network, depth, table, diverged in _tables(sweep):
        means = table.mean()
        row: dict[str, Any] = {"network": network, "depth": depth, "n": len(table)}
        row |= {"best": _middle_of_lowest(means), "error": means.min()}
        single = {seed: _optimum(errors, sweep.is_log) for seed, errors in table.iterrows()}
        each = np.array(list(single.values()) if sweep.is_numeric else [], float)
        if len(each):
            mean = np.exp(np.log(each).mean()) if sweep.is_log else each.mean()
            row |= {"optimum": float(mean), "least": each.min(), "greatest": each.max(), "optima": single}
        ends = {table.columns[0]: "lowest", table.columns[-1]: "highest"}
        row["edge"] = ends.get(row["best"], "") if sweep.is_numeric and table.shape[1] > 1 else ""
        rows.append(row | {"diverged": diverged})
    columns = ["network", "depth", "n", "best", "error", "optimum", "least", "greatest", "optima", "edge"]
    return pd.DataFrame(rows, columns=[*columns, "diverged"])


def movements(sweep: Sweep, found: pd.DataFrame) -> pd.DataFrame:
    """Return how the optimum moves with depth: the slope of log optimum against log depth, for each network.

    found: `optima`. The slope is fitted for each seed that has at least two depths. Columns: network; n, the
    number of seeds; depths; slope, the mean; low and high, its 95 % interval (NaN below 5 seeds); least and
    greatest, the range over the seeds; is_bounded, whether no optimum is at an end of the sweep, where the
    true slope may be steeper. A slope of -1 means that twice the depth needs half the value. Values that are
    not on a logarithmic scale have no slope."""
    rows = []
    for network, group in found.groupby("network", sort=False) if sweep.is_log else ():
        points = [
            (row["depth"], seed, best) for row in rows_of(group) for seed, best in row["optima"].items()
        ]
        table = pd.DataFrame(points, columns=["depth", "seed", "optimum"])
        slopes = []
        for _, each in table.groupby("seed"):
            if each["depth"].nunique() > 1:
                slopes.append(np.polyfit(np.log(each["depth"]), np.log(each["optimum"]), 1)[0])
        if slopes:
            low, high = mean_interval(np.array(slopes), NO_BOUNDS)
            row = {"network": network, "n": len(slopes), "depths": sorted(set(table["depth"]))}
            row |= {"slope": float(np.mean(slopes)), "low": low, "high": high}
            row |= {"least": min(slopes), "greatest": max(slopes)}
            rows.append(row | {"is_bounded": not (group["edge"] != "").any()})
    columns = ["network", "n", "depths", "slope", "low", "high", "least", "greatest", "is_bounded"]
    return pd.DataFrame(rows, columns=columns)


def degradation_at_best(sweep: Sweep, margin: float, validation: Sweep | None = None) -> pd.DataFrame:
    """Return a row for each network and pair of depths: does the deeper one train worse, each at its own
    best?

    margin: percentage points. validation: the same sweep with validation errors, which choose the values.
    Without it, the judged errors choose. Either way, the value for a seed is chosen by the other seeds.

    `present`: with every value, the deeper network has a higher error than the shallower one with its best
    value. The p value is the highest over the values of the deeper network, of the one-sided paired t test,
    and is Holm-corrected over the pairs of a network. `absent`: the deeper network with its best value is not
    worse than the shallower one with any value. The upper bound is the highest over the values of the
    shallower network. Both tests rest on tests of single values, so that the number of values does not raise
    the rate of false alarms. It is at most 6 %, unless the errors of the shallower network vary far more than
    those of the deeper one and do not depend on the value (9 to 14 % in simulations with 8 times the standard
    deviation and 5 to 10 seeds).

    Columns: network, shallow, deep; n, the number of seeds; best_shallow and best_deep, the values with the
    lowest mean error; differences, {seed: difference at the best values}; mean, of these; upper, p, p_holm;
    diverged, the number of diverged runs of both depths; verdict."""
    judged, choosing = (list(_tables(each)) for each in (sweep, validation or sweep))
    choices = {(network, depth): table for network, depth, table, _ in choosing}
    rows: list[dict[str, Any]] = []
    for network in dict.fromkeys(network for network, *_ in judged):
        at = {depth: (table, diverged) for name, depth, table, diverged in judged if name == network}
        pairs = [
            _pair(
                {depth: at[depth][0] for depth in pair},
                {depth: choices.get((network, depth), at[depth][0]) for depth in pair},
            )
            | {"network": network, "diverged": sum(sum(at[depth][1].values()) for depth in pair)}
            for pair in combinations(sorted(at), 2)
        ]
        for pair, corrected in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
            pair["p_holm"] = corrected
            pair["verdict"] = decide(
                n=pair["n"], mean=pair["mean"], upper=pair["upper"], p=corrected, margin=margin
            )
        rows += pairs
    columns = ["network", "shallow", "deep", "n", "best_shallow", "best_deep", "differences", "mean", "upper"]
    return pd.DataFrame(rows, columns=[*columns, "p", "p_holm", "diverged", "verdict"])


def _pair(errors: Mapping[int, pd.DataFrame], choosing: Mapping[int, pd.DataFrame]) -> dict[str, Any]:
    """Return the row of a pair of depths, given their errors (seeds, values) and those that choose a
    value."""
    shallow, deep = sorted(errors)
    seeds = sorted(set.intersection(*(set(table.index) for table in (*errors.values(), *choosing.values()))))
    values = {depth: [value for value in errors[depth] if value in choosing[depth]] for depth in errors}
    tables = [errors[depth].reindex(seeds, columns=values[depth]) for depth in (shallow, deep)]
    chosen = [choosing[depth].reindex(seeds, columns=values[depth]) for depth in (shallow, deep)]
    row: dict[str, Any] = {"shallow": shallow, "deep": deep, "n": len(seeds)}
    for name, depth in (("best_shallow", shallow), ("best_deep", deep)):
        row[name] = _middle_of_lowest(choosing[depth].reindex(columns=values[depth]).mean())
    if len(seeds) < 2:  # no other seed can choose
        return row | {"differences": {}, "mean": np.nan, "upper": np.nan, "p": np.nan}
    errors_of = [table.to_numpy(float) for table in tables]
    differences, upper, p = compare(*errors_of, *(choose(table.to_numpy(float)) for table in chosen))
    row |= {"differences": dict(zip(seeds, differences.tolist(), strict=True))}
    return row | {"mean": float(differences.mean()), "upper": upper, "p": p}


def choose(errors: np.ndarray) -> np.ndarray:
    """Return the place of the best value for each seed, which is that of the other seeds.

    errors: (seeds, values). Of several values, it is the middle one."""
    n = len(errors)
    if n < 2:
        return np.zeros(n, int)
    others = (errors.sum(axis=0) - errors) / (n - 1)
    return np.array([_middle(np.flatnonzero(row <= row.min() + ROUNDING)) for row in others], int)


def compare(
    shallow: np.ndarray, deep: np.ndarray, best_shallow: np.ndarray, best_deep: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """Return the differences between two depths at their best values, their upper bound, and p.

    shallow and deep: errors (seeds, values). best_shallow and best_deep: the place of the best value of each
    seed. See `degradation_at_best`."""
    seeds = np.arange(len(shallow))
    low, high = shallow[seeds, best_shallow], deep[seeds, best_deep]
    upper = max(upper_bound(high - errors) for errors in shallow.T)
    p = max(paired_t(errors - low) for errors in deep.T)
    return high - low, upper, p


def _tables(sweep: Sweep) -> Iterator[tuple[Any, Any, pd.DataFrame, dict[Any, int]]]:
    """Iterate over networks and depths: the errors (seeds, values), and the number of diverged runs by value.

    Only values with every seed of this network and depth are in the table, in the order of `Sweep.values`."""
    order = {value: place for place, value in enumerate(sweep.values)}
    for (network, depth), cells in sweep.cells.groupby(["network", "depth"], sort=False):
        table = cells.pivot(index="seed", columns="value", values="error").dropna(axis="columns")
        if table.empty:
            continue
        counts = cells[cells["status"] == "diverged"]["value"].value_counts().to_dict()
        diverged = {value: counts[value] for value in sorted(counts, key=order.__getitem__)}
        # by label: pandas takes a list of true and false in brackets for a choice of rows
        yield network, depth, table.reindex(columns=sorted(table, key=order.__getitem__)), diverged


def _middle_of_lowest(means: pd.Series) -> Any:
    """Return the value with the lowest mean error; of several, the middle one, of two middle ones the
    lower."""
    return _middle(means.index[means <= means.min() + ROUNDING])


def _middle(items: Any) -> Any:
    return items[(len(items) - 1) // 2]


def _optimum(errors: pd.Series, is_log: bool) -> float:
    """Return the value with the lowest error of a seed, between the values of the sweep.

    It is the lowest point of the parabola through the lowest error and its two neighbours. At an end of the
    sweep it is this end, and of several lowest errors their mean. The scale is logarithmic if `is_log`."""
    if any(isinstance(value, bool | str) for value in errors.index):
        return float("nan")
    x = np.log(errors.index.to_numpy(float)) if is_log else errors.index.to_numpy(float)
    y = errors.to_numpy(float)
    lowest = np.flatnonzero(y <= y.min() + ROUNDING)
    place = lowest[0]
    if len(lowest) > 1 or place in (0, len(x) - 1):
        best = float(x[lowest].mean())
    else:
        a, b, _ = np.polyfit(x[place - 1 : place + 2] - x[place], y[place - 1 : place + 2], 2)
        best = float(x[place] - b / (2 * a))
    return float(np.exp(best)) if is_log else best
