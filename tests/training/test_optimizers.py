"""The settings of optimisers. contracts/test_optimizers.py has the contract of every entry."""

import pytest
import torch

from depthbench.training.optimizers import OPTIMIZERS, Optimizer
from depthbench.training.settings import Recipe


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"betas": [0.9, 1.0]}, "optimizer_settings.betas = [0.9, 1.0]: should be below 1"),
        ({"betas": [0.9]}, "optimizer_settings.betas = [0.9]: should have at least 2 values"),
        ({"eps": 0}, "optimizer_settings.eps = 0: should be above 0"),
        ({"beta": [0.9, 0.95]}, "optimizer_settings.beta: no such setting; did you mean 'betas'?"),
    ],
)
def test_an_impossible_setting_is_refused_in_one_line(settings, message):
    with pytest.raises(ValueError, match="optimizer_settings") as error:
        OPTIMIZERS["adam"].checked(settings)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_settings_reach_the_optimiser_next_to_keys_of_the_recipe():
    recipe = Recipe(optimizer="sgd", momentum=0.5, optimizer_settings={"dampening": 0.25})
    weight = torch.nn.Parameter(torch.zeros(1))
    (group,) = OPTIMIZERS["sgd"]([weight], 0.1, **OPTIMIZERS["sgd"].keywords(recipe)).param_groups
    assert (group["lr"], group["momentum"], group["dampening"], group["nesterov"]) == (0.1, 0.5, 0.25, False)


def test_a_default_that_is_a_list_is_not_shared_between_runs():
    first = OPTIMIZERS["adam"].checked({})
    first["betas"][0] = 0.0
    assert OPTIMIZERS["adam"].checked({})["betas"] == [0.9, 0.999]


def test_an_optimiser_without_settings_or_state():
    plain = Optimizer("torch.optim:Rprop")
    assert plain.keywords(Recipe()) == {}
    assert plain.state_count(Recipe()) == 0


@pytest.mark.parametrize(
    ("name", "expected"), [("adam", 1 - 0.1), ("adamw", 1 - 0.1 * 0.5), ("rmsprop", 1 - 0.1 / 0.1)]
)
def test_weight_decay_is_a_penalty_in_adam_and_rmsprop_and_decoupled_in_adamw(name, expected):
    """Without a gradient of the loss, Adam normalises the penalty to a step of the size of the rate, and
    RMSprop divides it by the root of 1 % of its square."""
    weight = torch.nn.Parameter(torch.ones(1))
    weight.grad = torch.zeros(1)
    group = {"params": [weight], "weight_decay": 0.5}
    OPTIMIZERS[name]([group], 0.1, **OPTIMIZERS[name].keywords(Recipe(optimizer=name))).step()
    assert weight.item() == pytest.approx(expected, abs=1e-6)
