"""Ratios are taken within a repeat."""

import pandas as pd
import pytest

from depthbench.bench.floor import Cost
from depthbench.bench.ratios import FRACTION, SPEED, TIME, ratios, spread


def row(what, repeat, seconds, *, mode="steps", jobs=1, probes="off", pair=0, per_second=None, unit="images"):
    steps, images = 2, 10
    arm = f"{what}, {jobs} job" + ("" if mode == "steps" else f", {mode}")
    per_second = jobs * steps * images / seconds if per_second is None else per_second
    return {
        "case": "resnet-8", "arm": arm, "what": what, "mode": mode, "jobs": jobs, "lanes": 1,
        "probes": probes, "repeat": repeat, "pair": pair, "seconds": seconds, "steps": steps,
        "per_second": per_second, "unit": unit,
    }  # fmt: skip


def ceiling(repeat, jobs, operations, bytes):
    return [
        row("ceiling", repeat, 1.0, mode=mode, jobs=jobs, per_second=rate, unit=unit)
        for mode, rate, unit in (
            ("multiply", operations / 2, "operations"),
            ("multiply_onednn", operations, "operations"),
            ("copy", bytes, "bytes"),
        )
    ]


@pytest.fixture(scope="module")
def table():
    rows = []
    for repeat, slow in enumerate((1.0, 3.0, 2.0)):  # a machine that is three times slower for a while
        rows += [row("conventional", repeat, 4 * slow), row("depthbench", repeat, 2 * slow)]
        rows += [row("depthbench", repeat, 2 * slow, jobs=2)]
        rows += ceiling(repeat, 1, 100 / slow, 1000 / slow) + ceiling(repeat, 2, 400 / slow, 1000 / slow)
        for pair, cost in enumerate((1.4, 1.5, 1.6)):
            pairs = (("off", 1.0 * slow), ("every step", cost * slow))
            rows += [row("depthbench", repeat, t, mode="probes", probes=p, pair=pair) for p, t in pairs]
    for pair, default in enumerate((1.5, 1.0, 1.0, 1.0)):
        for probes, seconds in (("off", 1.0), ("default", default)):
            run = row("depthbench", 0, seconds, mode="probes", probes=probes, pair=pair)
            rows.append(run | {"arm": "depthbench, 1 job, cadence"})
    costs = {"resnet-8": Cost(operations=50, bytes=100)}
    return ratios(pd.DataFrame(rows), costs, {"resnet-8": 0.1})


def one(table, of, arm, how="measured"):
    (match,) = table[(table["of"] == of) & (table["arm"] == arm) & (table["how"] == how)].to_dict("records")
    return match


def test_speed_relative_to_one_job_of_the_conventional_loop(table):
    alone = one(table, SPEED, "depthbench, 1 job")
    assert (alone["median"], alone["low"], alone["high"], alone["n"]) == (2, 2, 2, 3)
    assert one(table, SPEED, "depthbench, 2 job")["median"] == 4
    assert "conventional, 1 job" not in set(table.loc[table["of"] == SPEED, "arm"])


def test_fraction_of_the_ceiling_of_the_same_repeat_and_jobs(table):
    # one job: max(50 / 100, 100 / 1000) s of 2 s / 2 steps; two jobs: max(50 / 400, .1) of 2 / (2 x 2)
    assert one(table, FRACTION, "depthbench, 1 job")["median"] == pytest.approx(0.5)
    assert one(table, FRACTION, "depthbench, 2 job")["median"] == pytest.approx(0.25)
    assert one(table, FRACTION, "conventional, 1 job")["median"] == pytest.approx(0.25)


def test_cost_of_probes(table):
    each = one(table, TIME, "depthbench, 1 job, probes at every step")
    assert (each["median"], each["n"]) == (pytest.approx(1.5), 9)
    computed = one(table, TIME, "depthbench, 1 job, default probes", "computed")
    assert computed["median"] == pytest.approx(1 + 0.1 * 0.5)
    whole = one(table, TIME, "depthbench, 1 job, default probes")
    assert (whole["median"], whole["n"]) == (pytest.approx(4.5 / 4), 1)


def test_spread_is_the_range_of_few_values_and_the_quartiles_of_many():
    assert spread([3, 1, 2]) == (2, 1, 3, 3)
    assert spread(range(9)) == (4, 2, 6, 9)
