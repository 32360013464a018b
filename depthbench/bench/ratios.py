"""Compute ratios within a repeat, so that drifts of the machine's speed cancel, with median and spread."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from depthbench.bench.floor import Cost, floor_seconds

QUARTILES_FROM = 8  # number of ratios; with fewer, the spread is from the lowest to the highest
SPEED, TIME, FRACTION = "speed", "time", "fraction of the ceiling"  # the quantities of which ratios are taken


class Spread(NamedTuple):
    """Median and range of the middle half of n values, or of all values if there are fewer than 8."""

    median: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Ratio:
    """A ratio of two arms, or of an arm to its ceiling, in every repeat."""

    of: str  # SPEED, TIME or FRACTION
    arm: str
    over: str  # the arm it is compared with
    values: pd.Series
    how: str = "measured"  # or computed


def spread(values: ArrayLike) -> Spread:
    """Return median and range of `values`."""
    numbers = np.asarray(values, dtype=float)
    ends = (25, 75) if len(numbers) >= QUARTILES_FROM else (0, 100)
    low, median, high = np.percentile(numbers, [ends[0], 50, ends[1]])
    return Spread(float(median), float(low), float(high), len(numbers))


def ratios(rows: pd.DataFrame, costs: Mapping[str, Cost], probed: Mapping[str, float]) -> pd.DataFrame:
    """Return a row for each ratio.

    The columns are `case` and the fields of Ratio, with those of Spread in place of the values. costs: the
    cost of a step, by case. probed: the fraction of all steps that the default cadence probes, by case."""
    ratio_rows = []
    for key, of_case in rows.groupby("case", sort=False):
        case = str(key)
        in_case = [*_speeds(of_case), *_fractions(of_case, costs[case]), *_probe_costs(of_case, probed[case])]
        for ratio in in_case:
            names = {"case": case, "of": ratio.of, "arm": ratio.arm, "over": ratio.over}
            ratio_rows.append({**names, **spread(ratio.values)._asdict(), "how": ratio.how})
    return pd.DataFrame(ratio_rows)


def _speeds(rows: pd.DataFrame) -> Iterator[Ratio]:
    """Divide the images per second of each arm by those of the conventional loop alone."""
    trained = rows[rows["mode"] == "steps"]
    is_base = (trained["what"] == "conventional") & (trained["jobs"] == 1)
    base = trained[is_base].set_index("repeat")["per_second"]
    for arm, of_arm in trained[~is_base].groupby("arm", sort=False):
        quotients = of_arm.set_index("repeat")["per_second"] / base
        yield Ratio(SPEED, str(arm), "conventional, 1 job", quotients)


def _fractions(rows: pd.DataFrame, cost: Cost) -> Iterator[Ratio]:
    """Divide the floor time of each arm by its measured time.

    The ceilings are those of the same repeat and the same number of jobs. On a GPU, which jobs share, they
    are those of one job."""
    ceilings = rows[rows["what"] == "ceiling"]
    for arm, of_arm in rows[rows["mode"] == "steps"].groupby("arm", sort=False):
        jobs = of_arm["jobs"].iloc[0]
        shares = ceilings[ceilings["jobs"] == (jobs if jobs in set(ceilings["jobs"]) else 1)]
        rates = shares.groupby(["repeat", "unit"])["per_second"].max().unstack()
        steps = of_arm["steps"] * of_arm["jobs"] * of_arm["lanes"]
        took = (of_arm["seconds"] / steps).set_axis(of_arm["repeat"])
        floor = floor_seconds(cost, rates["operations"], rates["bytes"])
        yield Ratio(FRACTION, str(arm), "", floor / took)


def _probe_costs(rows: pd.DataFrame, probed_fraction: float) -> Iterator[Ratio]:
    """Divide the time with probes by the time without: at every step, and with a study's default probes.

    The latter is measured in whole runs, or computed from the fraction of steps that are probed."""
    for arm, of_arm in rows[rows["mode"] == "probes"].groupby("arm", sort=False):
        keys = ["repeat", "pair", "probes"]
        seconds = of_arm.set_index(keys)["seconds"].unstack()
        if "default" in seconds:  # whole runs, whose parts alternated
            runs = seconds.groupby("repeat").sum()
            over_none = runs["default"] / runs["off"]
            name = str(arm).removesuffix(", cadence")
            yield Ratio(TIME, f"{name}, default probes", "no probes", over_none)
            continue
        quotients = seconds["every step"] / seconds["off"]
        name = str(arm).removesuffix(", probes")
        yield Ratio(TIME, f"{name}, probes at every step", "no probes", quotients)
        expected = 1 + probed_fraction * (quotients - 1)
        yield Ratio(TIME, f"{name}, default probes", "no probes", expected, how="computed")
