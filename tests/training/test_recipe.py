import pytest
import torch

from depthbench.networks import NETWORKS
from depthbench.study.model import Recipe
from depthbench.training.recipe import learning_rate, make_optimizer


def rates(at, **recipe):
    recipe = Recipe(**{"steps": 64_000, "warmup": "none"} | recipe)
    return [learning_rate(recipe, step) for step in at]


def test_the_papers_schedule_divides_by_ten_at_32k_and_48k():
    assert rates([0, 31_999, 32_000, 47_999, 48_000, 63_999]) == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )


def test_milestones_may_be_steps():
    assert rates([99, 100, 200], steps=300, milestones=[100.0, 200.0], lr=1.0) == pytest.approx(
        [1, 0.1, 0.01]
    )


def test_milestones_scale_with_a_shorter_run():
    assert rates([99, 100, 150], steps=200) == pytest.approx([0.1, 0.01, 0.001])


def test_cosine_falls_from_the_rate_to_nothing():
    first, middle, last = rates([0, 50, 100], steps=100, schedule="cosine")
    assert (first, middle) == pytest.approx((0.1, 0.05))
    assert last == pytest.approx(0, abs=1e-12)


def test_a_linear_warm_up_comes_before_the_schedule():
    recipe = {"steps": 100, "schedule": "cosine", "warmup": "linear", "warmup_steps": 0.1}
    assert rates([0, 4, 9, 10, 55], **recipe) == pytest.approx([0.01, 0.05, 0.1, 0.1, 0.05])


def test_holding_is_the_papers_warm_up():
    recipe = Recipe(steps=100)
    assert learning_rate(recipe, 0, holding=True) == 0.01
    assert learning_rate(recipe, 0, holding=False) == 0.1
    assert learning_rate(Recipe(steps=100, lr=0.001), 0, holding=True) == 0.001  # it never raises the rate
    assert learning_rate(recipe, 99, holding=True) == pytest.approx(0.001)  # nor that of the schedule


def test_a_plateau_lowers_the_rate_as_often_as_it_came():
    recipe = Recipe(steps=100, schedule="plateau", gamma=0.5)
    found = [learning_rate(recipe, 99, drops=drops) for drops in range(3)]
    assert found == pytest.approx([0.1, 0.05, 0.025])
    assert learning_rate(recipe, 0, holding=True, drops=1) == 0.01


def test_constant_is_constant():
    assert set(rates(range(0, 64_000, 1000), schedule="constant")) == {0.1}


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("decay_norm", [True, False])
def test_decay_is_on_all_parameters_or_on_weights_alone(name, decay_norm):
    network = NETWORKS["resnet"](depth=8, width=4)
    recipe = Recipe(optimizer=name, decay_norm=decay_norm, weight_decay=0.5, steps=1)
    optimizer = make_optimizer(network, recipe)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay.keys() == {id(p) for p in network.parameters()}
    for parameter_name, parameter in network.named_parameters():
        is_weight = "conv" in parameter_name or parameter_name == "fc.weight"
        assert decay[id(parameter)] == (0.5 if is_weight or decay_norm else 0.0), parameter_name
    assert isinstance(
        optimizer, {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    )
