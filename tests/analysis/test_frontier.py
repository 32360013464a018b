import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthbench.analysis.frontier import (
    count_open,
    frontiers,
    most_n,
    next_n,
    searched,
    summarise,
    trains,
)
from depthbench.networks import NETWORKS


def tried_by_a_search(frontier, most):
    """Return every n that a search tries, in order, if networks up to `frontier` train."""
    tried = {}
    while (n := next_n(tried, most)) is not None:
        assert n not in tried
        tried[n] = n <= frontier
    return tried


def test_doubling_and_bisection_by_hand():
    assert list(tried_by_a_search(frontier=11, most=100)) == [1, 2, 4, 8, 16, 12, 10, 11]


@pytest.mark.parametrize(
    ("frontier", "most", "tried"),
    [
        (0, 100, [1, 2, 4, 8]),
        (0, 3, [1, 2, 3]),
        (1, 100, [1, 2]),
        (100, 100, [1, 2, 4, 8, 16, 32, 64, 100]),
        (5, 1, [1]),
    ],
)
def test_searches_with_extreme_frontiers_and_limits(frontier, most, tried):
    assert list(tried_by_a_search(frontier, most)) == tried


@settings(max_examples=100, deadline=None, derandomize=True)
@given(frontier=st.integers(0, 300), most=st.integers(1, 200))
def test_a_search_ends_at_the_frontier(frontier, most):
    tried = tried_by_a_search(frontier, most)
    assert max((n for n, does in tried.items() if does), default=0) == min(frontier, most)
    assert len(tried) <= 2 * most.bit_length() + 1


def test_the_search_goes_on_above_depths_that_are_too_shallow():
    """3 to 5 train: 1 and 2 are too shallow."""
    tried = {}
    while (n := next_n(tried, 100)) is not None:
        tried[n] = 3 <= n <= 5
    assert list(tried) == [1, 2, 4, 8, 6, 5]
    assert next_n({18: False}, 100) == 1  # 18 does not train, but shallower ones may
    assert next_n({3: False, 9: False, 1: True}, 100) == 2


def runs_of(*rows):
    columns = ["network", "depth", "seed", "status", "train_error_eval"]
    return pd.DataFrame(rows, columns=columns)


RUNS = runs_of(
    ("plain", 8, 0, "done", 1.0),
    ("plain", 20, 0, "done", 30.0),
    ("plain", 14, 0, "done", 5.0),
    ("plain", 8, 1, "diverged", 5.0),
    ("resnet", 8, 0, "done", 0.0),
    ("resnet", 14, 0, "done", 0.0),
    ("resnet", 20, 0, "failed", None),
)


def test_a_run_trains_if_done_and_below_the_bound():
    assert trains(RUNS, below=20.0).tolist() == [True, False, True, False, True, True, pd.NA]
    assert trains(RUNS, below=5.0).tolist()[2] is False


def test_frontiers_of_seeds():
    table = frontiers(RUNS, below=20.0).astype(object).where(lambda t: t.notna(), None)
    assert table.to_numpy().tolist() == [
        ["plain", 0, 14, 20, 3],
        ["plain", 1, None, 8, 1],
        ["resnet", 0, 14, None, 2],
    ]


def test_a_depth_that_trains_beyond_one_that_does_not_is_not_the_frontier():
    runs = runs_of(*(("plain", depth, 0, "done", error) for depth, error in ((8, 0), (14, 50), (20, 0))))
    (row,) = frontiers(runs, below=20.0).itertuples()
    assert (row.trains, row.fails) == (8, 14)


def test_a_depth_that_is_too_shallow_is_not_the_frontier():
    runs = runs_of(
        *(("plain", depth, 0, "done", error) for depth, error in ((1, 48), (4, 0), (8, 60), (6, 40)))
    )
    (row,) = frontiers(runs, below=20.0).itertuples()
    assert (row.trains, row.fails) == (4, 6)


def test_a_seed_without_a_depth_that_trains_counts_as_depth_0():
    plain, resnet = summarise(frontiers(RUNS, below=20.0), RUNS).itertuples()
    assert (plain.network, plain.n, plain.median, plain.low, plain.high, plain.open) == (
        "plain",
        2,
        0,
        0,
        14,
        0,
    )
    assert (resnet.n, resnet.median, resnet.open) == (1, 14, 1)
    assert math.isnan(plain.expected)  # nothing is predicted without options


def test_runs_without_a_search_have_no_frontier():
    assert searched(RUNS.assign(**{"frontier.below": None})) is None
    begun = RUNS.assign(status="interrupted", **{"frontier.below": 20.0})
    assert searched(begun) is None
    search = searched(RUNS.assign(**{"frontier.below": 20.0}))
    assert (search.below, list(search.summary["median"])) == (20.0, [0, 14])


@pytest.mark.parametrize(
    ("family", "deepest", "n"),
    [("plain", 56, 9), ("plain", 57, 9), ("plain", 7, 0), ("resnet_imagenet", 60, 3)],
)
def test_the_largest_n_up_to_a_depth(family, deepest, n):
    assert most_n(NETWORKS[family].depths, deepest) == n


def test_a_search_is_open_until_no_depth_is_left_to_try():
    def runs(**trains):
        rows = [
            {"family": "plain", "network": "plain", "seed": 0, "depth": int(key[1:]), "status": "done"}
            | {"train_error_eval": 0.0 if does else 90.0}
            for key, does in trains.items()
        ]
        return pd.DataFrame(rows)

    assert count_open(runs(d8=True, d50=False), 20, 100) == 1  # depths between were not tried
    assert count_open(runs(d8=True, d14=False), 20, 100) == 0
    assert count_open(runs(d8=True, d14=True), 20, 14) == 0  # the deepest that may be tried
    failed = runs(d8=True, d14=False).assign(status=["done", "failed"])
    assert count_open(failed, 20, 100) == 1
    assert count_open(failed.assign(family="unknown"), 20, 100) == 0
