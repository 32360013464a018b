import math
from pathlib import Path

import pandas as pd
import pytest

from depthbench.analysis.comparison import (
    cautions,
    counterparts,
    differences,
    differing,
    is_significant,
    join_studies,
    label_each,
)
from depthbench.errors import BadInput
from depthbench.store.results import Results

STEPS = 100


def results(errors, status="done", weights="w", **changes):
    """Return results with these train errors, {(network, depth, seed): error}. Test errors are one higher."""
    rows = [
        {
            **{"run_id": f"{network}-{depth}-{seed}", "network": network, "family": network, "depth": depth},
            **{"seed": seed, "status": status, "steps": STEPS, "train_error_eval": e, "test_error": e + 1},
            **{"initial_weights_hash": f"{weights}{depth}{seed}", "batches_hash": f"b{seed}"},
            **{"data_hash": "images", **changes},
        }
        for (network, depth, seed), e in errors.items()
    ]
    runs = pd.DataFrame(rows)
    keys = ["run_id", "network", "depth", "seed", "train_error_eval", "test_error"]
    return Results(runs, runs[keys].assign(step=STEPS), pd.DataFrame())


def by_seed(network, depth, *errors):
    return {(network, depth, seed): error for seed, error in enumerate(errors)}


def one_row(joined):
    rows = differences(joined)
    return rows[rows["error"] == "train error"].iloc[0]


def test_differences_are_the_later_study_minus_the_first_seed_by_seed():
    a = results(by_seed("plain", 20, 10.0, 12.0, 14.0))
    b = results({("plain", 20, seed): e for seed, e in {2: 17.0, 0: 11.0, 1: 14.0, 7: 90.0}.items()})
    row = one_row(join_studies({"a": a, "b": b}))
    assert row["differences"] == {0: 1.0, 1: 2.0, 2: 3.0}
    assert (row["n"], row["first"], row["other"], row["mean"]) == (3, 12.0, 14.0, 2.0)
    assert math.isnan(row["low"])  # an interval needs five seeds
    assert row["p"] == pytest.approx(0.0742, abs=1e-4)  # of t = 2 sqrt 3


def test_p_is_corrected_over_the_rows_of_a_study_and_an_error():
    a = results(by_seed("plain", 20, 1.0, 2.0, 3.0) | by_seed("plain", 56, 1.0, 2.0, 3.0))
    b = results(by_seed("plain", 20, 2.0, 3.1, 4.0) | by_seed("plain", 56, 2.0, 3.1, 4.0))
    rows = differences(join_studies({"a": a, "b": b}))
    assert rows["p_holm"].tolist() == pytest.approx((2 * rows["p"]).tolist())
    assert is_significant(rows).all()


def test_two_seeds_are_never_significant():
    a, b = results(by_seed("plain", 20, 1.0, 2.0)), results(by_seed("plain", 20, 50.0, 51.001))
    rows = differences(join_studies({"a": a, "b": b}))
    assert rows[["p", "p_holm"]].isna().all(axis=None)
    assert not is_significant(rows).any()


@pytest.mark.parametrize(("shift", "p"), [(0.0, 1.0), (1.0, 0.0)])
def test_differences_without_spread(shift, p):
    errors = [1.0, 2.0, 3.0, 4.0, 5.0]
    a = results(by_seed("plain", 20, *errors))
    b = results(by_seed("plain", 20, *(error + shift for error in errors)))
    row = one_row(join_studies({"a": a, "b": b}))
    assert (row["low"], row["mean"], row["high"], row["p"]) == (shift, shift, shift, p)


def test_a_diverged_run_counts_at_chance_and_is_counted():
    a = results(by_seed("plain", 20, 1.0, 2.0, 3.0))
    b = results(by_seed("plain", 20, 90.0, 90.0, 90.0), status="diverged")
    row = one_row(join_studies({"a": a, "b": b}))
    assert (row["other"], row["diverged"]) == (90.0, 3)


def test_pairs_of_runs_report_equal_weights_and_batches():
    a, b = (results(by_seed("plain", 20, 1.0, 2.0), weights=w) for w in "wv")
    row = one_row(join_studies({"a": a, "b": b}))
    assert not row["same_weights"]
    assert row["same_batches"]
    old = results(by_seed("plain", 20, 1.0, 2.0), initial_weights_hash=None)
    assert one_row(join_studies({"a": a, "b": old}))["same_weights"] is pd.NA
    others = results(by_seed("plain", 20, 1.0, 2.0), data_hash="other")  # the same indices into other images
    assert not one_row(join_studies({"a": a, "b": others}))["same_batches"]


def test_each_later_study_is_compared_with_the_first():
    errors = {"a": 1.0, "b": 3.0, "c": 6.0}
    rows = differences(join_studies({s: results(by_seed("plain", 20, e, e, e)) for s, e in errors.items()}))
    of_test = rows[rows["error"] == "test error"]
    assert of_test[["study", "mean"]].to_numpy().tolist() == [["b", 2.0], ["c", 5.0]]


def test_the_only_networks_that_differ_are_compared_with_each_other():
    assert counterparts(["plain", "resnet"], ["plain", "mine"]) == {"mine": "resnet"}
    assert counterparts(["plain", "resnet"], ["plain", "mine", "other"]) == {}
    assert counterparts(["plain", "resnet"], ["plain"]) == {}
    a, b = results(by_seed("resnet", 20, 1.0, 2.0)), results(by_seed("mine", 20, 4.0, 5.0))
    row = one_row(join_studies({"a": a, "b": b}))
    assert (row["network"], row["own_network"], row["mean"]) == ("resnet / mine", "mine", 3.0)


def test_studies_with_nothing_in_common_have_no_row_and_a_caution():
    joined = join_studies({"a": results(by_seed("plain", 20, 1.0)), "b": results(by_seed("plain", 56, 1.0))})
    assert differences(joined).empty
    (sentence,) = cautions(differing({"a": {}, "b": {}}), joined.runs)
    assert sentence == "b has no network and depth in common with a: no errors are compared."


def test_cautions_name_other_images_recipes_and_train_sets():
    a = {"data.split_seed": 0, "images": "x", "recipe.lr": 0.1, "evaluate.train_size": None}
    b = {"data.split_seed": 1, "images": "y", "recipe.lr": 0.2, "evaluate.train_size": 50}
    runs = join_studies({s: results(by_seed("plain", 20, 1.0, 2.0, 3.0)) for s in "ab"}).runs
    sentences = cautions(differing({"a": a, "b": b}), runs)
    assert [sentence.partition(",")[0].partition(":")[0] for sentence in sentences] == [
        "b has different images or splits",
        "b has a different recipe",
        "b has train errors measured on different images",
    ]
    assert "recipe.lr 0.2, not 0.1" in sentences[1]
    assert "train_size 50, not unset" in sentences[2]
    harmless = {"options.init": "he", "data.name": "cifar10", "environment.device": "cuda"}
    assert cautions(differing({"a": {}, "b": harmless}), runs) == []


def test_equal_images_are_no_caution_even_if_specified_differently():
    runs = join_studies({s: results(by_seed("plain", 20, 1.0, 2.0, 3.0)) for s in "ab"}).runs
    a, b = ({"images": "x", "data.split_seed": seed} for seed in (0, 1))
    assert cautions(differing({"a": a, "b": b}), runs) == []
    (sentence,) = cautions(differing({"a": a, "b": a | {"data.normalisation": "none"}}), runs)
    assert sentence.startswith("b has a different recipe")


def test_other_options_are_a_caution_only_with_another_recipe():
    runs = join_studies({s: results(by_seed("plain", 20, 1.0, 2.0, 3.0)) for s in "ab"}).runs
    a, b = {"options.norm": "batch", "recipe.lr": 0.1}, {"options.norm": "none", "recipe.lr": 0.1}
    assert cautions(differing({"a": a, "b": b}), runs) == []
    sentences = cautions(differing({"a": a, "b": b | {"recipe.lr": 0.2}}), runs)
    assert [sentence.partition(",")[0] for sentence in sentences] == [
        "b has a different recipe",
        "b has different network options as well",
    ]
    assert "options.norm none, not batch" in sentences[1]


def test_two_definitions_of_a_network_with_one_name_are_a_caution():
    runs = join_studies({s: results(by_seed("mine", 20, 1.0, 2.0, 3.0)) for s in "ab"}).runs
    a, b = ({"variants.mine": {"of": "plain", "recipe": {"lr": lr}}} for lr in (0.1, 0.2))
    (sentence,) = cautions(differing({"a": a, "b": b}), runs)
    assert sentence.startswith("b has a different definition of a network with the same name")
    assert "lr = 0.2" in sentence
    assert cautions(differing({"a": a, "b": {}}), runs) == []  # only a has more networks
    (sentence,) = cautions(differing({"a": {"plug-in.mine": "x"}, "b": {"plug-in.mine": "y"}}), runs)
    assert sentence.startswith("b has different plug-in code in the runs of a network")
    assert "(plug-in.mine y, not x)" in sentence


def test_few_common_seeds_are_a_caution():
    runs = join_studies({s: results(by_seed("plain", 20, 1.0, 2.0)) for s in "ab"}).runs
    assert cautions(differing({"a": {}, "b": {}}), runs) == [
        "b has 2 seeds in common with a: too few to judge."
    ]


def test_settings_that_agree_are_left_out_and_the_environment_comes_last():
    a, b = {"environment.torch": "2", "x": 1, "y": 1}, {"environment.torch": "3", "x": 1}
    table = differing({"a": a, "b": b})
    assert table.to_numpy().tolist() == [["y", "1", ""], ["environment.torch", "2", "3"]]


def test_labels_are_the_shortest_ends_that_differ():
    assert label_each([Path("/r/a"), Path("/r/b")]) == ["a", "b"]
    assert label_each([Path("/mine/quick"), Path("/ours/quick")]) == ["mine/quick", "ours/quick"]
    with pytest.raises(BadInput, match="named twice"):
        label_each([Path("a"), Path("a/../a")])


def test_runs_of_two_studies_stay_separate():
    joined = join_studies({s: results(by_seed("plain", 20, 1.0)) for s in "ab"})
    assert joined.runs["run_id"].tolist() == ["a/plain-20-0", "b/plain-20-0"]
    assert joined.history["study"].tolist() == ["a", "b"]
    assert joined.history["run_id"].tolist() == joined.runs["run_id"].tolist()


def test_evaluations_at_other_steps_are_not_compared():
    """Both studies hold the same training, but one evaluated every step of the last quarter."""
    often, rarely = (results({("plain", 20, seed): 1.0 for seed in range(3)}) for _ in range(2))
    more = pd.concat(
        [often.history.assign(step=step, train_error_eval=error) for step, error in ((90, 5.0), (100, 1.0))]
    )
    joined = join_studies({"rarely": rarely, "often": often._replace(history=more)})
    rows = differences(joined)
    assert (rows["mean"] == 0).all()
    assert (rows["other"] == rows["first"]).all()


def test_seeds_in_common_are_those_of_finished_runs():
    begun = results(by_seed("plain", 20, 1.0, 2.0, 3.0))
    begun.runs.loc[0, "status"] = "interrupted"
    runs = join_studies({"a": results(by_seed("plain", 20, 1.0, 2.0, 3.0)), "b": begun}).runs
    assert cautions(differing({"a": {}, "b": {}}), runs) == [
        "b has 2 seeds in common with a: too few to judge."
    ]
