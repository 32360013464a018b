import numpy as np
import pandas as pd
import pytest

from depthbench.analysis.reference import METRICS, published, published_for, reproduction
from depthbench.networks import NETWORKS
from depthbench.networks.options import NetworkOptions
from tests.analysis.test_protocol import run_of


def runs_of(*errors, data="cifar10", metric="test_error", status=None, **run):
    """A row of Results.runs for each error, one seed each."""
    row = run_of(**run)
    common = {"network": row["family"], "data.name": data, "num_classes": 10, "steps": row["recipe.steps"]}
    rows = [
        row | common | {"seed": seed, "status": "done", "train_error": 1.0, "test_error": 9.0, metric: error}
        for seed, error in enumerate(errors)
    ]
    return pd.DataFrame(rows).assign(**{"status": status} if status else {})


def row_of(runs, **where):
    """Return the only row of the reproduction with these values. `source` is a prefix."""
    table = reproduction(runs)
    for column, value in where.items():
        table = table[
            table[column].str.startswith(value)
            if column == "source"
            else table[column].eq(value).fillna(False)
        ]
    (row,) = table.to_dict("records")
    return row | {key: None for key in ("within", "same_protocol") if pd.isna(row[key])}


def test_every_published_row_is_complete_and_of_a_network_that_exists():
    table = published()
    needed = ["source", "table", "data", "family", "depth", "metric", "value", "protocol", "provenance"]
    assert table[needed].notna().all().all()
    assert set(table["family"]) <= set(NETWORKS)
    assert set(table["metric"]) <= set(METRICS)
    assert set(table["bound"].dropna()) == {"above"}
    assert table["value"].between(0, 100).all()
    for row in table.to_dict("records"):
        family = NETWORKS[row["family"]]
        assert family.depths.n(row["depth"]) >= 1
        assert pd.isna(row["recipe"]) or row["recipe"] in family.protocols
        given = {key: value for key, value in row.items() if key.startswith("options.") and pd.notna(value)}
        NetworkOptions(**{key.removeprefix("options."): value for key, value in given.items()})
    assert not table.duplicated(["source", "table", "data", "family", "depth", "called", "metric"]).any()


@pytest.mark.parametrize(
    ("run", "data", "values"),
    [
        ({"family": "resnet", "depth": 110}, "cifar10", [6.61, 6.61, 6.41, 6.32]),
        ({"depth": 110, "options": {"shortcut": "C"}}, "cifar10", [12.22]),
        ({"depth": 110, "options": {"shortcut_scale": 0.5, "branch_scale": 0.5}}, "cifar10", [12.35]),
        ({"depth": 110, "options": {"shortcut_scale": 0.5}}, "cifar10", [20]),  # it failed
        ({"depth": 110, "options": {"shortcut_scale": 0.7}}, "cifar10", []),
        ({"depth": 110, "options": {"gate": "exclusive", "gate_bias": -6.0}}, "cifar10", [8.7]),
        ({"depth": 110, "options": {"gate": "shortcut_only", "gate_bias": 0.0}}, "cifar10", [12.86]),
        ({"depth": 110, "options": {"shortcut_dropout": 0.5}}, "cifar10", [20]),
        ({"depth": 110, "options": {"order": "act_only_pre"}}, "cifar10", [6.71]),
        ({"depth": 110, "options": {"norm": "none"}}, "cifar10", []),
        ({"family": "resnet_bottleneck", "depth": 164}, "cifar10", [5.93]),
        ({"family": "preresnet_bottleneck", "depth": 1001}, "cifar100", [22.71]),
        ({"family": "preresnet", "depth": 110}, "cifar10", [6.37]),
        ({"family": "plain", "depth": 110}, "cifar10", [60]),
        ({"family": "plain", "depth": 110}, "cifar10-jpeg", []),
        ({"family": "resnet", "depth": 8}, "cifar10", []),
    ],
)
def test_a_number_is_compared_only_with_the_same_network_and_data(run, data, values):
    assert published_for(runs_of(9.0, data=data, **run).iloc[0].to_dict())["value"].tolist() == values


def test_imagenet_has_a_thousand_classes():
    run = runs_of(30.0, data="imagenet", family="resnet_imagenet", depth=34).iloc[0].to_dict()
    assert published_for(run).empty
    assert published_for(run | {"num_classes": 1000})["value"].tolist() == [25.03, 7.76]
    options_b = run | {"num_classes": 1000, "options.shortcut": "B"}
    assert published_for(options_b)["value"].tolist() == [24.52, 7.46]


def test_mean_difference_and_the_wider_spread():
    row = row_of(runs_of(6.5, 6.7, 7.2, depth=110), source="He2015")
    assert (row["n"], row["mean"], row["low"], row["high"]) == (3, pytest.approx(6.8), 6.5, 7.2)
    assert row["sd"] == pytest.approx(0.13**0.5)  # (0.3² + 0.1² + 0.4²) / 2
    assert (row["published"], row["published_sd"], row["published_runs"]) == (6.61, 0.16, 5)
    assert row["difference"] == pytest.approx(0.19)
    assert (row["within"], row["why"]) == (True, "2 sd")
    assert row["source"] == "He2015 (arXiv:1512.03385), Table 6"


@pytest.mark.parametrize(
    ("errors", "depth", "within", "why"),
    [
        ((6.9,), 110, True, "2 sd"),  # within 0.32, twice the published sd
        ((7.0,), 110, False, "2 sd"),
        ((6.97,), 56, None, "no spread"),
        ((8.0, 8.2), 56, False, "2 sd"),  # the measured sd is 0.14
        ((6.0, 8.2), 56, True, "2 sd"),
    ],
)
def test_within_the_spread(errors, depth, within, why):
    row = row_of(runs_of(*errors, depth=depth), source="He2015")
    assert (row["within"], row["why"]) == (within, why)


def test_the_spread_of_a_diverged_run_agrees_with_nothing():
    runs = runs_of(6.9, 7.1, 90.0, depth=56, status=["done", "done", "diverged"])
    row = row_of(runs, source="He2015")
    assert (row["n"], row["diverged"], row["mean"]) == (3, 1, pytest.approx(104 / 3))
    assert (row["within"], row["why"]) == (None, "no spread")


def test_the_best_error_of_a_diverged_run_is_chance_too():
    """Its best error before it diverged does not count."""
    runs = runs_of(8.0, 90.0, 90.0, depth=20, status=["done", "diverged", "diverged"])
    row = row_of(runs.assign(best_test_error=[7.0, 50.0, np.nan]), source="github:akamaster")
    assert (row["n"], row["diverged"], row["mean"]) == (3, 2, pytest.approx(187 / 3))


@pytest.mark.parametrize(("error", "within"), [(70.0, True), (55.0, False)])
def test_a_lower_bound_has_no_difference(error, within):
    row = row_of(runs_of(error, family="plain", depth=110), bound="above")
    assert np.isnan(row["difference"])
    assert (row["within"], row["why"], row["published"]) == (within, "lower bound", 60)


def test_unfinished_runs_do_not_count():
    runs = runs_of(8.0, 9.0, 50.0, status=["done", "done", "interrupted"])
    assert row_of(runs, source="He2015")["n"] == 2
    assert reproduction(runs.assign(status="failed")).empty


def test_the_train_error_is_the_one_on_the_fly():
    row = row_of(runs_of(0.5, metric="train_error"), metric="train_error")
    assert (row["published"], row["mean"]) == (0.40, 0.5)


def test_other_data_is_named_but_not_compared():
    row = row_of(runs_of(8.0, 9.0, data="cifar10-jpeg"))
    assert (row["data"], row["mean"], row["why"]) == (
        "cifar10-jpeg",
        8.5,
        "no published number for this data set",
    )
    assert np.isnan(row["published"])
    assert np.isnan(row["difference"])
    assert (row["within"], row["same_protocol"], row["source"]) == (None, None, "")


def test_an_unpublished_network_has_a_row_that_says_so():
    assert row_of(runs_of(8.0, depth=26))["why"] == "no published number for this network"


def test_a_row_names_the_evaluation_that_is_missing():
    runs = runs_of(30.0, data="imagenet", family="plain_imagenet", depth=18).assign(num_classes=1000)
    row = row_of(runs, metric="top1_error")
    assert (row["n"], row["published"], row["why"]) == (0, 27.94, "needs test_error_10crop")
    taken = row_of(runs.assign(test_error_10crop=28.0), metric="top1_error")
    assert taken["difference"] == pytest.approx(0.06)


def test_the_protocol_is_the_same_if_the_recipe_is_and_unknown_if_unpublished():
    same = row_of(runs_of(8.0), source="He2015")
    assert (same["same_protocol"], same["differs"]) == (True, "")
    assert same["protocol"] == "mean of the last evaluation, 64,000 steps, batch 128, sgd, lr 0.1"
    short = row_of(runs_of(8.0, steps=6400), source="He2015")
    assert (short["same_protocol"], short["differs"]) == (False, "steps 6,400, not 64,000")
    unknown = row_of(runs_of(8.0), source="github:akamaster")
    assert (unknown["same_protocol"], unknown["published_protocol"]) == (None, "best epoch on the test set")


def test_each_number_is_compared_with_the_same_statistic():
    """A best test error is compared with a best test error, and a median with a median."""
    runs = runs_of(9.0, 8.0, 40.0, depth=110).assign(best_test_error=[7.0, 7.5, 8.0])
    assert row_of(runs, source="He2015", published=6.61)["mean"] == pytest.approx(19.0)
    assert row_of(runs, source="He2016")["mean"] == 9.0
    best = row_of(runs, source="github:akamaster")
    assert best["mean"] == pytest.approx(7.5)
    assert best["protocol"].startswith("mean of the best evaluation on the test set, 64,000 steps")
    assert row_of(runs, source="Huang2016")["why"] == "needs val_selected_test_error"


SUMS = {  # of published errors (%), by source
    "He2015 (arXiv:1512.03385)": {"count": 23, "sum": 380.18},
    "He2016 (arXiv:1603.05027)": {"count": 31, "sum": 421.04},
    "Huang2016 stochastic depth (arXiv:1603.09382)": {"count": 1, "sum": 6.41},
    "github:a-martyn/resnet": {"count": 12, "sum": 52.59},
    "github:akamaster/pytorch_resnet_cifar10": {"count": 6, "sum": 41.65},
    "github:wooyeolBaek/deep-residual-learning": {"count": 4, "sum": 43.74},
}


def test_no_published_number_was_changed_by_accident():
    sums = published().groupby("source")["value"].agg(["count", "sum"]).round(2)
    assert sums.to_dict("index") == SUMS
