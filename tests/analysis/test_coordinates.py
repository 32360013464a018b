import numpy as np
import pandas as pd
import pytest

from depthbench.analysis.coordinates import (
    MARGIN,
    by_position,
    judge_coordinates,
    slope_interval,
    verdict,
)

BLOCKS = (3, 9, 27)


def coordinates_of(slope, seeds=3, noise=0.0, blocks=BLOCKS, seed=0):
    """Made-up measurements: the change is blocks^slope, the size is 2, the logits are like the last block."""
    random = np.random.default_rng(seed)
    rows = []
    for count in blocks:
        for run_seed in range(seeds):
            run = {"network": "resnet", "depth": 2 * count + 2, "seed": run_seed}
            for step in (0, 1):
                value = float(count) ** slope * np.exp(noise * random.standard_normal())
                numbers = {"step": step, "blocks": count, "size": 2.0, "change": value if step else 0.0}
                rows += [run | numbers | {"part": "block", "block": k} for k in range(1, count + 1)]
                rows.append(run | numbers | {"part": "logits", "block": count})
    table = pd.DataFrame(rows)
    return table.assign(run_id=table["depth"].astype(str) + "-" + table["seed"].astype(str))


def verdict_of(table, part="last block", quantity="change"):
    judged = judge_coordinates(table).set_index(["part", "quantity"])
    return judged.loc[(part, quantity)]


@pytest.mark.parametrize(
    ("slope", "expected"), [(0.0, "flat"), (0.2, "flat"), (1.0, "grows"), (-0.5, "shrinks")]
)
def test_a_known_power_of_the_depth_is_found(slope, expected):
    row = verdict_of(coordinates_of(slope))
    assert row["slope"] == pytest.approx(slope, abs=1e-9)
    assert (row["verdict"], row["n"], row["depths"], row["step"]) == (expected, 3, 3, 1)
    assert verdict_of(coordinates_of(slope), quantity="size")["verdict"] == "flat"
    assert verdict_of(coordinates_of(slope), part="logits")["verdict"] == expected


@pytest.mark.parametrize(
    ("slope", "low", "high", "expected"),
    [
        (0.0, -0.3, 0.3, "inconclusive"),
        (0.3, 0.1, 0.5, "grows"),
        (0.2, 0.1, 0.3, "inconclusive"),
        (0.1, 0.05, 0.2, "flat"),
        (-0.3, -0.4, -0.2, "shrinks"),
        (0.0, np.nan, np.nan, "inconclusive"),
    ],
)
def test_the_verdict_needs_the_interval_and_the_margin(slope, low, high, expected):
    assert verdict(slope, low, high) == expected


def test_few_seeds_a_zero_and_one_depth_have_no_verdict():
    assert verdict_of(coordinates_of(0.0, seeds=2))["verdict"] == "inconclusive"
    table = coordinates_of(0.0)
    table.loc[table["depth"] == 8, "change"] = 0.0
    assert verdict_of(table)["verdict"] == "inconclusive"
    assert judge_coordinates(coordinates_of(0.0, blocks=(3,))).empty
    assert judge_coordinates(pd.DataFrame()).empty


@pytest.mark.parametrize(
    ("seeds", "slope", "name", "least", "most"),
    [
        (3, 0.0, "flat", 0.82, 0.87),
        (5, 0.0, "flat", 0.99, 1),
        (3, 0.5, "grows", 0.99, 1),
        (3, MARGIN, "flat", 0, 0.035),
        (3, 0.0, "grows", 0, 0.005),
    ],
)
def test_the_verdict_is_as_reliable_as_stated(seeds, slope, name, least, most):
    """Over 4,000 simulated studies whose activations have noise of 10 %."""
    random = np.random.default_rng(0)
    logs = np.log(BLOCKS)
    found = 0
    for _ in range(4000):
        values = slope * logs + 0.1 * random.standard_normal((seeds, len(BLOCKS)))
        found += verdict(*slope_interval(np.polyfit(logs, values.T, 1)[0])) == name
    assert least <= found / 4000 <= most


def test_blocks_of_networks_of_any_depth_are_compared_at_the_same_position():
    table = by_position(coordinates_of(1.0))
    ends = table[
        (table["quantity"] == "change") & (table["position"] == 1) & (table["part"] == "block")
    ].set_index("depth")["mean"]
    assert ends.to_dict() == pytest.approx({8: 3, 20: 9, 56: 27})
    sizes = table[table["quantity"] == "size"]
    assert (len(sizes) - 3, set(sizes["n"]), set(sizes["mean"].round(6))) == (sum(BLOCKS), {3}, {2.0})
