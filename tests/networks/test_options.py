import pytest
from pydantic import ValidationError

from depthbench.errors import BadInput
from depthbench.networks.families.cifar import CIFAR_OPTIONS
from depthbench.networks.families.imagenet import IMAGENET_OPTIONS
from depthbench.networks.families.mlp import MLP_OPTIONS
from depthbench.networks.options import (
    CHOICES,
    INITS,
    NEEDS,
    NetworkOptions,
    check_choices,
    complete,
    defaults,
    draws_random_numbers,
    survival_of,
)
from depthbench.study import model


@pytest.mark.parametrize("name", NetworkOptions.model_fields)
def test_every_option_has_a_default_and_a_help_text(name):
    field = NetworkOptions.model_fields[name]
    assert not field.is_required()
    assert field.description
    assert field.description.endswith(".")
    assert NEEDS[name] in (None, "residual", "bottleneck", *NetworkOptions.model_fields)


def test_the_study_has_these_options():
    assert model.NetworkOptions is NetworkOptions
    assert model.Study.model_fields["options"].annotation is NetworkOptions


def test_options_are_in_the_order_of_the_stored_columns():
    assert list(NetworkOptions.model_fields) == [
        "width",
        "shortcut",
        "norm",
        "init",
        "activation",
        "dropout",
        "order",
        "shortcut_scale",
        "branch_scale",
        "gate",
        "gate_bias",
        "shortcut_dropout",
        "bottleneck_stride",
        "survival",
        "survival_rule",
        "widen",
        "cardinality",
        "base_width",
        "reduction",
        "growth",
        "learned_scale",
        "tat_eta",
        "transform_bias",
        "drop_path",
        "stem",
        "placement",
        "token_norm",
        "heads",
        "patch",
        "mlp_ratio",
        "depth_alpha",
        "base_blocks",
    ]


def test_help_texts_state_the_defaults_of_the_papers():
    help_texts = {name: field.description for name, field in NetworkOptions.model_fields.items()}
    for values in (MLP_OPTIONS.values, IMAGENET_OPTIONS.values, CIFAR_OPTIONS.values):
        assert str(values["width"]) in help_texts["width"]
        assert values["order"] in help_texts["order"]
    first, second = (defaults(has_bottlenecks=bottleneck)["shortcut"] for bottleneck in (False, True))
    assert f"Unset: {first}, or {second} if the blocks are bottlenecks" in help_texts["shortcut"]


@pytest.mark.parametrize(
    "architecture", [MLP_OPTIONS, IMAGENET_OPTIONS, CIFAR_OPTIONS], ids=lambda architecture: architecture.name
)
def test_an_architecture_takes_options_that_exist_and_no_others(architecture):
    assert architecture.takes <= set(NetworkOptions.model_fields)
    built = complete(architecture, {"width": 3, "norm": None}, residual=True)
    assert (built.width, built.norm, built.order) == (3, "batch", architecture.values["order"])
    with pytest.raises(TypeError, match=f"'{architecture.name}' takes no option 'growths'"):
        complete(architecture, {"growths": 1}, residual=True)


RULES = {"bottleneck_stride", "survival_rule", "learned_scale", "stem"}


def test_choices_are_the_values_that_a_study_may_name():
    assert CHOICES["shortcut"] == ("A", "B", "C")
    assert CHOICES["bottleneck_stride"] == ("1x1", "3x3")
    of_transformers = {"placement", "token_norm"}
    assert set(CHOICES) == {"shortcut", "norm", "activation", "order", "gate", *RULES, *of_transformers}
    check_choices({"shortcut": "C", "width": 7, "anything": None})
    with pytest.raises(BadInput, match="gate = 'open': should be none, exclusive or shortcut_only"):
        check_choices({"gate": "open"})


@pytest.mark.parametrize("init", [*INITS, "normal:0.01", "normal:1e-3", "normal:.5"])
def test_initialisations(init):
    assert NetworkOptions(init=init).init == init


@pytest.mark.parametrize("init", ["glorot", "normal", "normal:0", "normal:-1", "normal:x"])
def test_an_unknown_initialisation_is_refused(init):
    with pytest.raises(
        ValidationError, match="should be he, xavier, orthogonal, delta_orthogonal or normal:STD"
    ):
        NetworkOptions(init=init)


def test_tat_sets_the_slope_of_leaky_relu_alone():
    with pytest.raises(
        BadInput, match=r"tat_eta = 0\.9 sets the slope of leaky_relu, but activation is relu; set"
    ):
        complete(CIFAR_OPTIONS, {"tat_eta": 0.9}, residual=False)
    built = complete(CIFAR_OPTIONS, {"tat_eta": 0.9, "activation": "leaky_relu"}, residual=False, depth=20)
    assert (built.tat_eta, built.nonlinear_layers) == (0.9, 19)


def test_survival_falls_linearly_to_that_of_the_last_block_or_is_constant():
    """p_l = 1 - (l / L) (1 - p_L). With p_L = 0.5, (3 L - 1) / 4 blocks survive (Huang et al. 2016)."""
    linear = complete(CIFAR_OPTIONS, {"survival": 0.5}, residual=True)
    survivals = [survival_of(linear, index, 54) for index in range(54)]
    assert survivals[0] == pytest.approx(1 - 0.5 / 54)
    assert survivals[26] == 0.75
    assert survivals[-1] == 0.5
    assert sum(survivals) == pytest.approx((3 * 54 - 1) / 4)
    constant = complete(CIFAR_OPTIONS, {"survival": 0.5, "survival_rule": "constant"}, residual=True)
    assert {survival_of(constant, index, 54) for index in range(54)} == {0.5}


@pytest.mark.parametrize("option", [{"dropout": 0.1}, {"shortcut_dropout": 0.1}, {"survival": 0.9}])
def test_options_that_draw_random_numbers_are_known(option):
    neutral = NetworkOptions().model_dump()
    assert draws_random_numbers(neutral | option)
    assert not draws_random_numbers(neutral)
    assert not draws_random_numbers({"dropout": float("nan"), "survival": None})  # of a stored run
