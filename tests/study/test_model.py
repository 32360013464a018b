import re
from dataclasses import replace

import pytest

from depthbench.data import DATASETS
from depthbench.data.settings import NOT_IN_RUN_ID, Data
from depthbench.errors import BadInput
from depthbench.networks import NETWORKS, Family
from depthbench.probes import PROBES
from depthbench.study.file import bundled_studies, load_study, merge
from depthbench.study.model import (
    Evaluate,
    NetworkOptions,
    Probe,
    Recipe,
    Run,
    Study,
)
from depthbench.training.optimizers import OPTIMIZERS
from tests.conftest import plugins_forgotten


def run(**sections):
    return Run(**{"network": "plain", "depth": 20, "seed": 0, **sections})


# Run ids


def test_a_run_id_never_changes():
    # Stored results are looked up by these ids. If this fails, restore the ids or raise FORMAT.
    assert run().run_id == "plain-20-s0-0c0483"
    assert run(network="resnet", depth=56, seed=3, recipe=Recipe(steps=100)).run_id == "resnet-56-s3-014f6b"


def test_the_settings_of_the_verdict_change_no_run_id():
    studies = Study(), Study.model_validate({"verdict": {"margin": 2.0, "reach": 5.0}})
    bare, judged = ([run.run_id for run in study.runs()] for study in studies)
    assert bare == judged
    assert "reach" not in studies[0].to_toml()  # study.toml of older studies says nothing of it either


def test_a_key_set_to_its_default_does_not_change_the_run_id():
    assert (
        run(recipe=Recipe(lr=0.1), options=NetworkOptions(), data=Data(name="digits")).run_id == run().run_id
    )


CHANGED = {
    "data": {
        "kind": "images",
        "task": "next",
        "tokens": "bytes",
        "length": 9,
        "hops": 2,
        "symbols": 9,
        "name": "mnist",
        "image_size": 32,
        "test_fraction": 0.3,
        "val_fraction": 0.1,
        "val_size": 50,
        "split_seed": 1,
        "normalisation": "pixel",
        "decode": "as_read",
    },
    "options": {
        "width": 8,
        "shortcut": "B",
        "norm": "none",
        "init": "xavier",
        "activation": "tanh",
        "dropout": 0.1,
        "order": "full_pre",
        "shortcut_scale": 0.5,
        "branch_scale": 0.5,
        "gate": "exclusive",
        "gate_bias": -7.0,
        "shortcut_dropout": 0.5,
        "bottleneck_stride": "3x3",
        "survival": 0.5,
        "survival_rule": "constant",
        "widen": 2,
        "cardinality": 4,
        "base_width": 32,
        "reduction": 8,
        "growth": 24,
        "transform_bias": -4.0,
        "stem": "cifar",
        "drop_path": 0.3,
        "learned_scale": "scalar",
        "tat_eta": 0.9,
        "placement": "post",
        "token_norm": "rms",
        "heads": 2,
        "patch": 4,
        "mlp_ratio": 2.0,
        "depth_alpha": 0.5,
        "base_blocks": 3,
    },
    "recipe": {
        "steps": 10,
        "epochs": 1.5,
        "batch_size": 64,
        "optimizer": "adam",
        "optimizer_settings": {"dampening": 0.1},
        "lr": 0.2,
        "momentum": 0.8,
        "nesterov": True,
        "weight_decay": 0.0,
        "decay_norm": False,
        "depth_rules": "none",
        "l1": 0.1,
        "label_smoothing": 0.1,
        "class_weights": "balanced",
        "clip_norm": 1.0,
        "norm_momentum": 0.2,
        "sync_batch_norm": False,
        "schedule": "cosine",
        "milestones": [0.5],
        "gamma": 0.2,
        "warmup": "none",
        "warmup_steps": 0.2,
        "hold_lr": 0.02,
        "hold_until_train_error": 70.0,
        "hold_steps": 400,
        "hold_from_depth": 20,
        "pad": 0,
        "flip": True,
        "precision": "bf16",
        "patience": 5,
        "plateau_patience": 5,
        "augmentation": "scale",
        "scale": [224, 224],
        "colour": True,
    },
    "probe": {"names": ["weight_norm"], "steps": [0], "every": 5, "each_use": 2, "coordinates": 3},
    "evaluate": {"every": 5, "train_size": 100, "log_every": 5, "ten_crop": True, "robustness": ["noisy"]},
}
READ = {"data": {"path": "photos", "image_size": 16, "decode": "as_read"}}
RESNEXT = {"grid": {"network": ["resnext"], "depth": [29]}}
NEEDS = {  # what else must be set before a key is accepted
    "kind": {"data": {"path": "photos"}},
    "task": {"data": {"path": "photos", "kind": "text"}},
    "tokens": {"data": {"name": "pydoc"}},
    "length": {"data": {"name": "pydoc"}},
    "hops": {"data": {"name": "hops"}},
    "symbols": {"data": {"name": "hops"}},
    "image_size": {"data": {"path": "photos"}},
    "decode": {"data": {"path": "photos", "image_size": 16}},
    "augmentation": READ,
    "ten_crop": READ,
    "patience": {"data": {"val_size": 60}},
    "widen": {"grid": {"network": ["wide_resnet"], "depth": [16]}},
    "cardinality": RESNEXT,
    "base_width": RESNEXT,
    "reduction": {"grid": {"network": ["se_resnet"]}},
    "transform_bias": {"grid": {"network": ["highway"]}},
    "drop_path": {"grid": {"network": ["fractalnet"], "depth": [40]}},
    "growth": {"grid": {"network": ["densenet"], "depth": [40]}},
    "stem": {"grid": {"network": ["resnet_imagenet"], "depth": [18]}},
    **{
        key: {"grid": {"network": ["transformer"]}}
        for key in ("placement", "token_norm", "heads", "patch", "mlp_ratio")
    },
}


def unchanged(key):
    """Return the paper's study with what `key` needs."""
    return load_study(None, **NEEDS.get(key, {}))


def changed(section, key):
    """Return the same study with `key` changed."""
    return load_study(None, **merge(NEEDS.get(key, {}), {section: {key: CHANGED[section][key]}}))


def test_everything_that_affects_the_result_changes_the_run_id():
    for section, model in (
        ("data", Data),
        ("options", NetworkOptions),
        ("recipe", Recipe),
        ("probe", Probe),
        ("evaluate", Evaluate),
    ):
        assert set(CHANGED[section]) == set(model.model_fields) - set(NOT_IN_RUN_ID), "a key is not tested"

    ids = {run().run_id, run(network="resnet").run_id, run(depth=26).run_id, run(seed=1).run_id}
    keys = [(section, key) for section, changes in CHANGED.items() for key in changes]
    for section, key in keys:
        run_id = next(changed(section, key).runs()).run_id
        assert run_id != next(unchanged(key).runs()).run_id, f"{section}.{key}"
        ids.add(run_id)
    assert len(ids) == 4 + len(keys)


VARIANTS = {
    "calm": {"of": "plain"},
    "bare": {"of": "plain", "options": {"norm": "none"}, "recipe": {"batch_size": 8}},
}


def with_variants(**variants):
    return load_study(
        None,
        variants=VARIANTS | variants,
        grid={"network": ["bare", "plain"], "depth": [8], "seed": [0]},
        options={"init": "xavier", "norm": "group"},
        recipe={"lr": 0.5, "batch_size": 64},
    )


def test_a_variant_replaces_the_keys_that_it_sets():
    bare, plain = with_variants().resolve(1000, flips=False).runs()
    assert (bare.network, bare.family, bare.of) == ("bare", "plain", "plain")
    assert (plain.network, plain.family, plain.of) == ("plain", "plain", None)
    assert (bare.options.norm, bare.options.init) == ("none", "xavier")
    assert (plain.options.norm, plain.options.init) == ("group", "xavier")
    assert (bare.recipe.batch_size, bare.recipe.lr, bare.steps) == (8, 0.5, 64_000)
    assert plain.recipe.batch_size == 64
    assert bare.run_id.startswith("bare-8-s0-")


def test_a_variant_may_set_a_key_back_to_its_default():
    study = with_variants(bare={"of": "plain", "options": {"norm": "batch"}})
    assert study.options_of("bare").norm == "batch"


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ({"of": "plane"}, "variants.bare: no network is called 'plane'; did you mean 'plain'?"),
        ({}, "variants.bare.of is missing"),
        ({"of": "plain", "norm": "none"}, "unknown key 'variants.bare.norm'"),
        ({"of": "plain", "options": {"nrom": 1}}, "did you mean 'norm'?"),
        ({"of": "plain", "options": {"norm": "n"}}, "variants.bare.options.norm = \"n\": should be 'batch'"),
        ({"of": "plain", "recipe": {"steps": 5}}, "recipe.steps must be the same for all runs"),
        ({"of": "plain", "budget": 0}, "variants.bare.budget = 0: should be above 0"),
        ({"of": "plain", "data": {"name": "cifar10"}}, "unknown key 'variants.bare.data.name'"),
        (
            {"of": "plain", "data": {"normalisation": "image"}},
            "variants.bare.data.normalisation = \"image\": should be 'channel'",
        ),
        (
            {"of": "plain", "recipe": {"nesterov": True, "momentum": 0.0}},
            "nesterov = true needs momentum above 0",
        ),
        ({"of": "plain_mlp", "options": {"shortcut": "B"}}, "options.shortcut: bare has no such option"),
        ({"of": "resnet_imagenet"}, "bare: depth 8 does not exist; use 18"),
    ],
)
def test_an_impossible_variant_is_refused(variant, message):
    with pytest.raises(BadInput) as error:
        with_variants(bare=variant)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_variant_may_scale_pixels_in_another_way():
    study = with_variants(bare={"of": "plain", "data": {"normalisation": "pixel"}})
    bare, plain = study.runs()
    assert (bare.data.normalisation, plain.data.normalisation) == ("pixel", "channel")
    assert bare.data.name == plain.data.name
    same = with_variants(bare={"of": "plain", "data": {"normalisation": "channel"}})
    assert next(same.runs()).run_id == next(with_variants(bare={"of": "plain"}).runs()).run_id


def test_a_budget_is_a_multiple_of_the_steps_of_the_study():
    study = with_variants(bare={"of": "plain", "budget": 2.5, "recipe": {"milestones": [0.5, 0.75]}})
    study = study.model_copy(update={"recipe": Recipe(steps=10)})
    bare, plain = study.resolve(1000, flips=False).runs()
    assert (bare.steps, plain.steps) == (25, 10)
    assert (bare.evaluate_every, bare.log_every) == (plain.evaluate_every, plain.log_every)
    assert study.lengths() == (10, 25)
    assert bare.is_probed(24)
    assert not bare.is_probed(9)
    assert plain.is_probed(9)


def test_a_budget_of_epochs_is_that_of_the_steps():
    study = load_study(
        None,
        recipe={"epochs": 2, "batch_size": 50},
        variants={"long": {"of": "plain", "budget": 3}},
        grid={"network": ["plain", "long"], "depth": [8], "seed": [0]},
    )
    assert [run.steps for run in study.resolve(1000, flips=False).runs()] == [40, 120]


def test_a_budget_of_one_changes_no_run():
    with_budget, without = (with_variants(bare={"of": "plain"} | more) for more in ({"budget": 1}, {}))
    one, other = (next(study.resolve(1000, flips=False).runs()) for study in (with_budget, without))
    assert one.run_id == other.run_id


def test_a_budget_too_short_for_a_probed_step_or_a_warm_up_is_refused():
    grid = {"network": ["plain", "short"], "depth": [8], "seed": [0]}
    variants = {"short": {"of": "plain", "budget": 0.5}}
    probed = load_study(None, recipe={"steps": 10}, probe={"steps": [7]}, variants=variants, grid=grid)
    with pytest.raises(BadInput, match=r"probe\.steps contains 7, but the steps of a run are 0 to 4"):
        probed.resolve(1000, flips=False)
    recipe = {"steps": 10, "warmup": "linear", "warmup_steps": 8}
    warmed = load_study(None, recipe=recipe, variants=variants, grid=grid)
    with pytest.raises(BadInput, match=r"warmup_steps = 8 is longer than a run of 5 steps"):
        warmed.resolve(1000, flips=False)


def test_a_baseline_must_be_a_network_and_changes_no_run():
    with pytest.raises(
        BadInput, match=r"variants\.bare\.baseline: no network is called 'plane'; did you mean"
    ):
        with_variants(bare={"of": "plain", "baseline": "plane"})
    with_baseline, without = (with_variants(bare={"of": "plain"} | m) for m in ({"baseline": "calm"}, {}))
    assert [run.run_id for run in with_baseline.runs()] == [run.run_id for run in without.runs()]


def test_a_variant_that_conflicts_with_the_study_is_named():
    with pytest.raises(BadInput, match=r"variants\.fast\.recipe: nesterov = true needs momentum above 0"):
        load_study(
            None,
            recipe={"momentum": 0.0},
            variants={"fast": {"of": "plain", "recipe": {"nesterov": True}}},
            grid={"network": ["fast"]},
        )


def test_a_variant_may_not_take_the_name_of_a_network():
    with pytest.raises(BadInput, match=r"variants.resnet: a bundled network has this name"):
        with_variants(resnet={"of": "plain"})


def test_a_stored_variant_has_only_the_keys_that_it_sets(tmp_path):
    study = with_variants()
    (tmp_path / "s.toml").write_text(study.to_toml())
    again = load_study(tmp_path / "s.toml", name=study.name)
    assert again == study
    assert [run.run_id for run in again.runs()] == [run.run_id for run in study.runs()]
    assert study.model_dump(mode="json")["variants"] == {
        "calm": {"of": "plain", "options": {}, "recipe": {}}
    } | {"bare": VARIANTS["bare"]}


def test_the_path_of_an_image_folder_does_not_change_the_run_id():
    here, there = (run(data=Data(path=path)) for path in ("/here/photos", "/there/photos"))
    assert here.run_id == there.run_id
    assert here.run_id != run(data=Data(path="/here/drawings")).run_id


# A study and its runs


def test_runs_are_a_grid():
    study = load_study(None, grid={"network": ["plain", "resnet"], "depth": [20, 8], "seed": [0, 5]})
    runs = list(study.runs())
    assert [(r.depth, r.network, r.seed) for r in runs] == [
        (20, "plain", 0),
        (20, "plain", 5),
        (20, "resnet", 0),
        (20, "resnet", 5),
        (8, "plain", 0),
        (8, "plain", 5),
        (8, "resnet", 0),
        (8, "resnet", 5),
    ]
    assert len({r.run_id for r in runs}) == 8
    assert all(r.recipe == study.recipe for r in runs)


def test_duplicates_in_a_grid_are_run_once():
    study = load_study(None, grid={"network": ["plain", "plain"], "depth": [8, 20, 8], "seed": [0, 0]})
    assert len(list(study.runs())) == 2


def test_a_study_never_changes():
    with pytest.raises(ValueError, match="frozen"):
        load_study(None).recipe.lr = 1.0


def test_the_default_recipe_is_that_of_the_paper():
    study = load_study(None, data={"name": "cifar10"})
    recipe = study.resolve(50_000, flips=True).recipe
    assert study.name == "cifar10"
    assert (recipe.optimizer, recipe.lr, recipe.momentum, recipe.weight_decay) == ("sgd", 0.1, 0.9, 1e-4)
    assert (recipe.batch_size, recipe.steps, recipe.schedule, recipe.gamma) == (128, 64_000, "step", 0.1)
    assert [m * recipe.steps for m in recipe.milestones] == [32_000, 48_000]
    assert (recipe.warmup, recipe.hold_lr, recipe.hold_until_train_error) == ("hold", 0.01, 80)
    assert recipe.hold_from_depth == 110
    assert (recipe.pad, recipe.flip, recipe.nesterov, recipe.decay_norm) == (4, True, False, True)
    assert study.options == NetworkOptions(
        width=None, shortcut=None, norm="batch", init="he", activation="relu", dropout=0.0
    )


def test_a_study_is_named_after_its_file(tmp_path):
    file = tmp_path / "my-study.v2.toml"
    file.write_text("[grid]\n")
    assert load_study(file).name == "my-study.v2"
    assert load_study(file, name="other").name == "other"
    file.write_text('name = "third"\n')
    assert load_study(file).name == "third"


def test_an_empty_study_file_is_refused(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("# to be written\n")
    with pytest.raises(BadInput, match=r"mine\.toml is empty"):
        load_study(file)


def test_a_folder_named_like_a_data_set_is_not_used_for_it():
    assert Data(path="/somewhere/cifar10").name == "cifar10-folder"
    assert Data(path="/somewhere/flowers").name == "flowers"
    assert Data(path="/somewhere/flowers", name="mine").name == "mine"


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {"decode": "as_read", "image_size": 8}}, "needs a folder of images: name one with --data"),
        ({"data": {"decode": "as_read", "path": "photos"}}, 'decode = "as_read" needs image_size'),
        ({"recipe": {"augmentation": "scale"}}, 'augmentation = "scale" needs a folder of images: add'),
        ({"evaluate": {"ten_crop": True}}, "evaluate.ten_crop = true needs a folder of images: add"),
        ({"recipe": {"scale": [480, 256]}}, "two numbers of pixels, the lower first, of at least 224"),
        ({"recipe": {"scale": [200, 256]}}, "two numbers of pixels, the lower first, of at least 224"),
        (
            {
                "variants": {"scaled": {"of": "plain", "recipe": {"augmentation": "scale"}}},
                "grid": {"network": ["scaled"]},
            },
            'recipe.augmentation = "scale" needs a folder of images: add',
        ),
    ],
)
def test_augmentations_that_need_whole_images_are_checked(sections, message):
    with pytest.raises(BadInput) as error:
        load_study(None, **sections)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", sorted(bundled_studies()))
def test_a_bundled_study_is_named_after_its_file_and_can_be_stored(name, tmp_path):
    study = load_study(name)
    assert study.name == name
    file = tmp_path / "study.toml"
    file.write_text(study.to_toml())
    assert load_study(file) == study


def test_the_imagenet_study_has_the_rows_of_the_papers_tables():
    study = load_study("he2015-imagenet", data={"path": "/somewhere/imagenet"})
    runs = list(study.resolve(1_000_000, flips=True, other_size=50_000).runs())
    cells = {(run.family, run.depth, run.options.shortcut) for run in runs}
    assert cells == {
        *(("plain_imagenet", depth, None) for depth in (18, 34)),
        *(("resnet_imagenet", depth, None) for depth in (18, 34, 50, 101, 152)),
        *(("resnet_imagenet", 34, shortcut) for shortcut in "BC"),
    }
    assert len(runs) == 9
    assert {run.data.name for run in runs} == {"imagenet"}
    assert {run.recipe.warmup for run in runs} == {"none"}  # no warm-up even for 152 layers


@pytest.mark.parametrize("section", sorted(CHANGED))
def test_a_stored_study_is_the_study(section, tmp_path):
    for key in CHANGED[section]:
        study = changed(section, key)
        for each in (study, study.resolve(1000, flips=True, other_size=200)):
            file = tmp_path / "study.toml"
            file.write_text(each.to_toml())
            assert load_study(file) == each


# Values that depend on the data


@pytest.mark.parametrize(
    ("recipe", "steps"),
    [
        ({}, 64_000),
        ({"steps": 7}, 7),
        ({"epochs": 2}, 20),
        ({"epochs": 0.5}, 5),
        ({"epochs": 164, "batch_size": 128}, 1281),  # 1281.25
        ({"epochs": 0.001}, 1),
    ],
)
def test_length_in_steps(recipe, steps):
    study = load_study(None, recipe={"batch_size": 100, **recipe}).resolve(1000, flips=False)
    assert (study.recipe.steps, study.recipe.epochs) == (steps, None)
    assert next(study.runs()).steps == steps


def test_the_same_length_by_steps_and_by_epochs_is_the_same_run():
    ids = {
        next(load_study(None, recipe={"batch_size": 100, **length}).resolve(1000, True).runs()).run_id
        for length in ({"steps": 20}, {"epochs": 2})
    }
    assert len(ids) == 1


def test_steps_are_not_known_before_the_data():
    with pytest.raises(ValueError, match=r"Study\.resolve"):
        _ = run().steps


@pytest.mark.parametrize(
    ("flip", "flips", "flipped"), [(None, True, True), (None, False, False), (False, True, False)]
)
def test_flips_are_as_the_data_allows_unless_set(flip, flips, flipped):
    recipe = {} if flip is None else {"flip": flip}
    assert load_study(None, recipe=recipe).resolve(1000, flips).recipe.flip is flipped


@pytest.mark.parametrize(
    ("steps", "train_size", "other_size", "every", "subset", "log_every"),
    [
        (300, 1437, 360, 60, None, 10),  # 19,200 images trained on, 1,797 evaluated: five evaluations
        (64_000, 50_000, 10_000, 3200, None, 128),  # at most 20 evaluations
        (2000, 50_000, 10_000, 400, 2800, 10),  # five evaluations, train error on fewer images
        (200, 50_000, 10_000, 200, 2000, 10),  # one evaluation, which takes 15 % of the time already
        (25, 400, 50, 25, None, 10),
        (3, 100, 100, 3, None, 3),
    ],
)
def test_default_intervals_and_sizes_of_evaluations(steps, train_size, other_size, every, subset, log_every):
    study = load_study(None, recipe={"steps": steps, "batch_size": 64})
    evaluate = study.resolve(train_size, True, other_size).evaluate
    assert (evaluate.every, evaluate.train_size, evaluate.log_every) == (every, subset, log_every)


def test_resolving_keeps_set_keys_and_is_idempotent():
    study = load_study(None, evaluate={"every": 7, "train_size": 300, "log_every": 2})
    once = study.resolve(1000, True)
    assert once.evaluate == study.evaluate
    settled = load_study(None, recipe={"epochs": 3}).resolve(1000, True, 100)
    assert settled.resolve(1000, True, 100) == settled


# When layers are probed


def probed(length, **probe):
    one = run(recipe=Recipe(steps=length), probe=Probe(**probe))
    return [step for step in range(length) if one.is_probed(step)]


def test_probed_steps_are_dense_at_first():
    assert probed(1000) == [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 999]
    assert probed(13) == [0, 1, 2, 5, 10, 12]
    assert probed(1) == [0]


def test_probed_steps_can_be_chosen():
    assert probed(10, steps=[3, 4, 99]) == [3, 4]
    assert probed(10, steps=[]) == []


def test_every_adds_to_the_others():
    assert probed(12, every=4) == [0, 1, 2, 4, 5, 8, 10, 11]
    assert probed(12, steps=[], every=5) == [0, 5, 10]


def test_without_probes_no_step_is_probed():
    assert probed(100, names=[], every=1) == []


# Bad input


def test_a_study_of_defaults_is_valid():
    assert Study().grid.depth == [20, 32, 44, 56, 110]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"recipe": {"nesterov": True, "momentum": 0.0}}, "nesterov = true needs momentum above 0"),
        (
            {"recipe": {"nesterov": True, "optimizer_settings": {"dampening": 0.5}}},
            "nesterov = true excludes optimizer_settings.dampening = 0.5: remove one",
        ),
        ({"grid": {"seed": [2**63]}}, "should be below"),
        ({"options": {"init": "normal:0"}}, "STD > 0"),
    ],
)
def test_impossible_values_are_refused(values, message):
    with pytest.raises(BadInput, match=re.escape(message)):
        load_study(None, **values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"probe": {"steps": [0, 10]}},
            "probe.steps contains 10, but the steps of a run are 0 to 9: remove it",
        ),
        (
            {"recipe": {"warmup": "linear", "warmup_steps": 11}},
            "recipe.warmup_steps = 11 is longer than a run of 10 steps",
        ),
    ],
)
def test_steps_beyond_the_end_are_refused_once_the_end_is_known(values, message):
    study = load_study(None, **merge({"recipe": {"steps": 10}}, values))
    with pytest.raises(BadInput, match=re.escape(message)):
        study.resolve(1000, False)


@pytest.mark.parametrize("name", ["aux", "COM1", "nul.txt", "a/b", "..", "a" * 101, "-a", "a b", "a."])
@pytest.mark.parametrize("place", ["name", "variants"])
def test_names_of_studies_and_variants_that_cannot_be_stored_are_refused(name, place):
    overrides = {"name": name} if place == "name" else {"variants": {name: {"of": "plain"}}}
    with pytest.raises(BadInput, match=r"should be 1 to 100 letters|use another name"):
        load_study(None, **overrides)


@pytest.mark.parametrize(
    ("entries", "name"),
    [(NETWORKS, "plain"), (OPTIMIZERS, "sgd"), (PROBES, "weight_norm"), (DATASETS, "digits")],
)
def test_a_run_notices_other_code_of_its_network_optimizer_probes_and_data_set(
    tiny, monkeypatch, entries, name
):
    monkeypatch.setitem(entries, name, replace(entries[name], source="abc", origin="p.py"))
    (run,) = tiny(grid={"network": ["plain"]}).runs()
    run.check_code()
    for source in ("abcd", ""):  # a longer hash with the same start; the code is no longer a plug-in
        monkeypatch.setitem(entries, name, replace(entries[name], source=source))
        with pytest.raises(
            BadInput, match=r"^(p.py \(.*\)|a plug-in) was edited after the study was planned"
        ):
            run.check_code()


def test_equal_values_of_own_options_have_one_run_id_and_different_ones_their_own(tiny, monkeypatch):
    def build(depth, in_channels, num_classes, *, alpha: float = 0.5, mode: int | bool = 1): ...

    monkeypatch.setitem(NETWORKS, "mine", Family(build))

    def run_of(**options):
        variants = {"v": {"of": "mine", "options": options}}
        (run,) = tiny(grid={"network": ["v"]}, options={"width": None}, variants=variants).runs()
        return run

    assert run_of(alpha=1).run_id == run_of(alpha=1.0).run_id
    assert run_of(mode=1).run_id == run_of().run_id
    assert run_of(mode=True).options.own["mode"] is True
    assert run_of(mode=True).run_id != run_of().run_id


def test_one_value_of_an_option_suits_networks_that_have_it_or_take_it():
    grid = {"network": ["plain", "highway"], "depth": [8]}
    assert len(list(load_study(None, grid=grid, options={"norm": "none"}).runs())) == 2 * 3
    with pytest.raises(BadInput, match=r"options.norm: highway has no such option; options of highway: "):
        load_study(None, grid=grid, options={"norm": "group"})


def test_an_unknown_option_is_refused_with_those_of_the_network(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "def build(depth, in_channels, num_classes, *, width: int = 4, gain: float = 1.0): ...\n"
        'NETWORKS = {"mine": build}\n'
    )
    with plugins_forgotten(), pytest.raises(BadInput, match=r"'options.foo'; keys of options: gain, width$"):
        load_study(None, grid={"network": ["mine"]}, options={"foo": 1}, plugins=[str(file)])
