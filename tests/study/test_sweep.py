import pytest

from depthbench import load_study
from depthbench.errors import BadInput
from depthbench.study.file import build
from depthbench.study.model import Study
from depthbench.study.sweep import name_at

ONE_DEPTH = {"depth": [8], "seed": [0]}


def settings(study):
    """Return network -> its learning rate and norm."""
    return {
        name: (study.recipe_of(name).lr, study.options_of(name).norm, study.family(name).about)
        for name in study.networks()
    }


def test_every_network_is_trained_with_every_combination_of_values():
    sweep = {"lr": [0.01, 0.1], "options.norm": ["batch", "none"]}
    study = load_study("quick", sweep=sweep, grid=ONE_DEPTH)
    assert study.networks() == [
        f"{network}-lr={lr}-norm={norm}"
        for network in ("plain", "resnet")
        for lr in (0.01, 0.1)
        for norm in ("batch", "none")
    ]
    assert settings(study)["plain-lr=0.1-norm=none"][:2] == (0.1, "none")
    assert study.swept_values("resnet-lr=0.01-norm=batch") == {"recipe.lr": 0.01, "options.norm": "batch"}
    assert len({run.run_id for run in study.runs()}) == 8


def test_a_sweep_of_a_variant_keeps_its_other_settings():
    study = load_study(
        "quick",
        variants={
            "bare": {"of": "plain", "options": {"norm": "none"}, "recipe": {"lr": 0.5, "momentum": 0.5}}
        },
        grid={"network": ["bare", "resnet"], **ONE_DEPTH},
        sweep={"recipe": {"lr": [0.1]}},
    )
    assert study.networks() == ["bare-lr=0.1", "resnet-lr=0.1"]
    assert study.options_of("bare-lr=0.1").norm == "none"
    assert (study.recipe_of("bare-lr=0.1").lr, study.recipe_of("bare-lr=0.1").momentum) == (0.1, 0.5)


def test_a_stored_study_is_the_same_study_and_can_be_swept_again(tmp_path):
    study = load_study("quick", sweep={"lr": [0.01, 0.1]}, grid=ONE_DEPTH)
    stored = tmp_path / "study.toml"
    stored.write_text(study.to_toml(), encoding="utf-8")
    again = load_study(stored)
    assert [run.run_id for run in again.runs()] == [run.run_id for run in study.runs()]
    other = load_study(stored, sweep={"lr": [0.2]})
    assert other.networks() == ["plain-lr=0.2", "resnet-lr=0.2"]


def test_a_flag_replaces_the_values_of_a_file_and_unset_removes_the_sweep(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('extends = "quick"\n[sweep]\nlr = [0.01, 0.1]\n', encoding="utf-8")
    assert len(load_study(file).networks()) == 4
    assert load_study(file, sweep={"recipe.lr": [0.3]}).networks() == ["plain-lr=0.3", "resnet-lr=0.3"]
    assert load_study(file, sweep="unset").networks() == ["plain", "resnet"]


def test_seeds_and_depths_of_several_grids_are_kept():
    study = load_study(
        "quick", also=[{"network": ["plain_mlp"], "depth": [4], "seed": [7]}], sweep={"lr": [0.1]}
    )
    (run,) = [run for run in study.runs() if run.family == "plain_mlp"]
    assert (run.network, run.depth, run.seed) == ("plain_mlp-lr=0.1", 4, 7)


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"lr": 0.1}, r"sweep.lr = 0.1: should be a list of values in square brackets"),
        ({"lr": []}, r"sweep.lr = \[\]: should be a list"),
        ({"lr": [[0.1]]}, r"sweep.lr: \[0.1\] should be a number, a word, true or false"),
        ({"lr": ["a"]}, r'lr = "a": should be a number'),
        ({"lr": [-1]}, r"lr = -1: should be above 0"),
        ({"lrr": [1]}, r"unknown key 'lrr'; did you mean 'lr'"),
        ({"steps": [1, 2]}, r"sweep.steps: a sweep varies keys of recipe or options, and not recipe.steps"),
        ({"data.name": ["digits"]}, r"sweep.data.name: a sweep varies keys of recipe or options"),
        ({"recipe": {"lr": [0.1]}, "lr": [0.2]}, r"recipe.lr is listed twice"),
        ({"options.norm": ["batch", "x"]}, r"norm = \"x\": should be 'batch', 'none'"),
        (3, r"sweep = 3: should be a table of lists"),
        ({"init": ["normal:0.1", "normal_0.1"]}, r"should be he, xavier"),
    ],
)
def test_bad_sweeps_are_refused_in_one_line(sweep, message):
    with pytest.raises(BadInput, match=message) as caught:
        load_study("quick", sweep=sweep, grid=ONE_DEPTH)
    assert str(caught.value).count("\n") == 0


def test_values_with_the_same_name_are_refused():
    variants = {"plain-lr=0.1": {"of": "plain", "options": {"norm": "none"}}}
    with pytest.raises(BadInput, match=r"the variant plain-lr=0.1 exists already with other values"):
        load_study("quick", variants=variants, sweep={"lr": [0.1]}, grid=ONE_DEPTH)


def test_swept_variants_deviate_from_the_baseline_with_the_same_values():
    variants = {"bare": {"of": "plain", "baseline": "plain", "options": {"norm": "none"}}}
    grid = ONE_DEPTH | {"network": ["bare", "plain"]}
    study = load_study("quick", variants=variants, sweep={"lr": [0.1, 0.2]}, grid=grid)
    baselines = {name: variant.baseline for name, variant in study.variants.items()}
    assert baselines == {
        "bare": "plain",
        "bare-lr=0.1": "plain-lr=0.1",
        "bare-lr=0.2": "plain-lr=0.2",
        "plain-lr=0.1": None,
        "plain-lr=0.2": None,
    }
    alone = load_study("quick", variants=variants, sweep={"lr": [0.1]}, grid=grid | {"network": ["bare"]})
    assert alone.variants["bare-lr=0.1"].baseline is None


def test_names_hold_every_digit_that_tells_values_apart():
    names = [name_at("n", {"recipe.lr": value}) for value in (0.1, 1e-05, 1e20, 0.123456789, 3, True)]
    assert names == ["n-lr=0.1", "n-lr=1e-05", "n-lr=1e20", "n-lr=0.123456789", "n-lr=3", "n-lr=true"]
    for name in names:
        build(Study, {"variants": {name: {"of": "plain"}}}, "study")
    assert name_at("n", {"options.init": "normal:0.1"}) == "n-init=normal_0.1"
