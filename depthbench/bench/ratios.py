"""Rows -> ratios: taken within a repeat, so that the machine's slow changes cancel; median and spread."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from depthbench.bench.floor import Cost, floor_seconds

QUARTILES_FROM = 8  # ratios: of fewer the spread is the lowest to the highest
SPEED, TIME, FRACTION = "speed", "time", "fraction of the ceiling"  # the quantities that ratios are of


class Spread(NamedTuple):
    """Median, and where the middle half of the values lie (or all, of fewer than 8)."""

    median: float
    low: float
    high: float
    n: int


def spread(values) -> Spread:
    values = np.asarray(values, dtype=float)
    ends = (25, 75) if len(values) >= QUARTILES_FROM else (0, 100)
    low, median, high = np.percentile(values, [ends[0], 50, ends[1]])
    return Spread(float(median), float(low), float(high), len(values))


def ratios(rows: pd.DataFrame, costs: Mapping[str, Cost], probed: Mapping[str, float]) -> pd.DataFrame:
    """A row a ratio: `case`, `of` (speed, time or fraction of the ceiling), `arm`, `over` (what it is held
    against), `median`, `low`, `high`, `n`, and `how` (measured or computed).

    costs: of a step of each case. probed: case -> the part of all steps that the default cadence probes."""
    found = []
    for case, of_case in rows.groupby("case", sort=False):
        found += [{"case": case} | row for row in _speeds(of_case)]
        found += [{"case": case} | row for row in _fractions(of_case, costs[case])]
        found += [{"case": case} | row for row in _probe_costs(of_case, probed[case])]
    return pd.DataFrame(found)


def _speeds(rows: pd.DataFrame) -> list[dict]:
    """Images a second of each arm over those of the conventional loop alone."""
    trained = rows[rows["mode"] == "steps"]
    is_base = (trained["what"] == "conventional") & (trained["jobs"] == 1)
    base = trained[is_base].set_index("repeat")["per_second"]
    found = []
    for arm, of_arm in trained[~is_base].groupby("arm", sort=False):
        quotients = of_arm.set_index("repeat")["per_second"] / base
        found.append(_row(SPEED, arm, "conventional, 1 job", quotients))
    return found


def _fractions(rows: pd.DataFrame, cost: Cost) -> list[dict]:
    """Floor time over measured time of each arm, by the ceilings of the same repeat and the same jobs (or, on
    a GPU, which jobs share, of the one job)."""
    ceilings = rows[rows["what"] == "ceiling"]
    found = []
    for arm, of_arm in rows[rows["mode"] == "steps"].groupby("arm", sort=False):
        jobs = of_arm["jobs"].iloc[0]
        shares = ceilings[ceilings["jobs"] == (jobs if jobs in set(ceilings["jobs"]) else 1)]
        rates = shares.groupby(["repeat", "unit"])["per_second"].max().unstack()
        steps = of_arm["steps"] * of_arm["jobs"] * of_arm["lanes"]
        took = (of_arm["seconds"] / steps).set_axis(of_arm["repeat"])
        floor = pd.Series(floor_seconds(cost, rates["operations"], rates["bytes"]), index=rates.index)
        found.append(_row(FRACTION, arm, "", floor / took))
    return found


def _probe_costs(rows: pd.DataFrame, part: float) -> list[dict]:
    """Time of a probed step over that of one without probes, and the same for a run that is probed where a
    study does so: as measured in whole runs, or computed from the part of its steps that are probed."""
    found = []
    for arm, of_arm in rows[rows["mode"] == "probes"].groupby("arm", sort=False):
        keys = ["repeat", "pair", "probes"]
        seconds = of_arm.set_index(keys)["seconds"].unstack()
        if "default" in seconds:  # whole runs: only the sum of their turns is a run
            runs = seconds.groupby("repeat").sum()
            name = arm.removesuffix(", cadence")
            found.append(_row(TIME, f"{name}, default probes", "no probes", runs["default"] / runs["off"]))
            continue
        quotients = seconds["every step"] / seconds["off"]
        name = arm.removesuffix(", probes")
        found.append(_row(TIME, f"{name}, probes at every step", "no probes", quotients))
        expected = 1 + part * (quotients - 1)
        found.append(_row(TIME, f"{name}, default probes", "no probes", expected, how="computed"))
    return found


def _row(of: str, arm: str, over: str, values: pd.Series, how: str = "measured") -> dict:
    return {"of": of, "arm": arm, "over": over, **spread(values)._asdict(), "how": how}
