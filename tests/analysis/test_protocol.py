import pandas as pd
import pytest

from depthbench.analysis.protocol import has_default_options, recipe_differences, settled_options
from depthbench.networks.options import NetworkOptions
from depthbench.study.model import Recipe


def run_of(family="resnet", depth=20, options=None, **recipe):
    """Return a row of Results.runs, trained as in He et al. 2015, sec. 4.2, except for `recipe`."""
    options = NetworkOptions(**options or {}).model_dump()
    recipe = Recipe(**{"steps": 64_000, "flip": True} | recipe).model_dump()
    named = {"options": options, "recipe": recipe}
    columns = {f"{part}.{key}": value for part, values in named.items() for key, value in values.items()}
    data = {"normalisation": "pixel", "val_size": None, "val_fraction": None, "shape": (3, 32, 32)}
    columns |= {f"data.{key}": value for key, value in data.items()}
    return {"family": family, "depth": depth, **columns}


@pytest.mark.parametrize(
    ("family", "depth", "shortcut", "width", "order"),
    [
        ("resnet", 110, "A", 16, "original"),
        ("resnet_bottleneck", 164, "B", 16, "original"),
        ("preresnet", 110, "A", 16, "full_pre"),
        ("preresnet_bottleneck", 164, "B", 16, "full_pre"),
        ("resnet_imagenet", 34, "A", 64, "original"),
        ("resnet_imagenet", 50, "B", 64, "original"),
    ],
)
def test_unset_options_are_those_of_the_family(family, depth, shortcut, width, order):
    options = settled_options(run_of(family, depth))
    assert (options["shortcut"], options["width"], options["order"]) == (shortcut, width, order)
    assert has_default_options(run_of(family, depth, {"shortcut": shortcut, "width": width, "order": order}))


@pytest.mark.parametrize(
    "changed", [{"norm": "none"}, {"width": 8}, {"shortcut": "C"}, {"gate": "exclusive"}]
)
def test_any_other_option_is_another_network(changed):
    assert not has_default_options(run_of(options=changed))


def test_an_option_without_effect_keeps_the_network():
    assert has_default_options(run_of("plain", options={"shortcut": "B", "shortcut_scale": 0.5}))
    assert has_default_options(run_of("plain", options={"branch_scale": 0.5}))
    assert not has_default_options(run_of("resnet", options={"branch_scale": 0.5}))
    assert has_default_options(run_of("resnet", options={"bottleneck_stride": "3x3", "gate_bias": -3.0}))
    assert not has_default_options(run_of("resnet_bottleneck", 164, {"bottleneck_stride": "3x3"}))


@pytest.mark.parametrize("family", ["mine", "resnet_mlp"])
def test_a_network_without_an_image_paper_has_no_default(family):
    assert not has_default_options(run_of(family))


@pytest.mark.parametrize("depth", [20, 110])
def test_the_default_recipe_is_the_one_of_the_paper(depth):
    assert recipe_differences(run_of(depth=depth), "he2015-cifar") == []


def test_every_difference_is_named_with_both_values():
    run = run_of(batch_size=64, schedule="cosine", clip_norm=1.0, steps=300)
    assert recipe_differences(run, "he2015-cifar") == [
        "steps 300, not 64,000",
        "batch_size 64, not 128",
        "clip_norm 1, not unset",
        "schedule cosine, not step",
    ]
    assert recipe_differences(run_of(milestones=[0.5, 56_000.0]), "he2015-cifar") == [
        "milestones 0.5 and 0.875, not 0.5 and 0.75"
    ]


def test_a_key_without_effect_at_a_depth_is_no_difference():
    same = {"milestones": [32_000.0, 48_000.0], "hold_lr": 0.02, "hold_from_depth": 56, "warmup_steps": 5.0}
    assert recipe_differences(run_of(depth=20, **same), "he2015-cifar") == []
    assert recipe_differences(run_of(depth=20, warmup="none"), "he2015-cifar") == []
    assert recipe_differences(run_of(depth=110, warmup="none"), "he2015-cifar") == ["warmup none, not hold"]
    assert recipe_differences(run_of(depth=110, hold_lr=0.02), "he2015-cifar") == ["hold_lr 0.02, not 0.01"]
    assert recipe_differences(run_of(depth=56, **same), "he2015-cifar") == ["warmup hold, not none"]


def test_images_kept_for_validation_are_a_difference():
    (difference,) = recipe_differences(run_of() | {"data.val_size": 5000}, "he2015-cifar")
    assert "validation" in difference
    assert recipe_differences(run_of() | {"val_error": 7.0}, "he2015-cifar") == []  # a set of its own


def test_normalisation_and_image_size_are_differences():
    run = run_of() | {"data.normalisation": "channel", "data.shape": (3, 64, 64)}
    assert recipe_differences(run, "he2015-cifar") == [
        "normalisation channel, not pixel",
        "images 64x64, not 32x32",
    ]
    assert recipe_differences(run_of() | {"data.shape": None}, "he2015-cifar") == []  # not recorded


def test_the_papers_of_2015_and_2016_warm_up_differently():
    later = {"hold_steps": 400, "hold_from_depth": 1}
    assert recipe_differences(run_of(depth=20, **later), "he2016-cifar") == []
    assert recipe_differences(run_of(depth=20), "he2016-cifar") == ["warmup none, not hold"]
    assert recipe_differences(run_of(depth=110), "he2016-cifar") == ["hold_steps unset, not 400"]


def test_settings_read_back_from_a_table_are_the_same():
    """Unset numbers become NaN in a table."""
    frame = pd.DataFrame([run_of(), run_of(clip_norm=1.0, options={"width": 16})])
    run = frame.to_dict("records")[0]
    assert pd.isna(run["recipe.clip_norm"])
    assert recipe_differences(run, "he2015-cifar") == []
    assert has_default_options(run)


def test_imagenet_has_its_own_recipe():
    def differences_of(depth, **recipe):
        run = run_of("resnet_imagenet", depth, **recipe) | {"data.shape": (3, 224, 224)}
        return recipe_differences(run, "he2015-imagenet")

    differences = differences_of(34)
    assert differences[:2] == ["steps 64,000, not 600,000", "batch_size 128, not 256"]
    assert "schedule step, not plateau" in differences
    paper = {"steps": 600_000, "batch_size": 256, "schedule": "plateau", "plateau_patience": 7}
    paper |= {"warmup": "none", "augmentation": "scale", "colour": True}
    assert differences_of(152, **paper) == []
    assert differences_of(34, **paper | {"colour": False}) == ["colour False, not True"]


def test_another_setting_of_the_optimizer_is_a_difference():
    run = run_of()
    assert recipe_differences(run | {"recipe.dampening": 0.5}, "he2015-cifar") == ["dampening 0.5, not 0"]
    assert recipe_differences(run | {"recipe.dampening": 0.0}, "he2015-cifar") == []
    assert recipe_differences(run | {"recipe.dampening": float("nan")}, "he2015-cifar") == []


def test_settings_of_another_optimizer_are_not_compared():
    run = run_of(optimizer="adam") | {"recipe.betas": [0.5, 0.9]}
    assert recipe_differences(run, "he2015-cifar") == ["optimizer adam, not sgd"]
