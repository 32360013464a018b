"""The rules of training/depth_rules.py. probes/test_coordinates.py measures what they achieve."""

import pytest
import torch

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.networks.depth_scaling import DepthScaling
from depthbench.training.building import depth_scaling, factors_in_branches, make_optimizer
from depthbench.training.depth_rules import BranchFactors, branch_factors
from depthbench.training.mode import TrainingMode
from depthbench.training.optimizers import OPTIMIZERS, Optimizer
from depthbench.training.settings import Recipe
from depthbench.training.trainer import Trainer


@pytest.mark.parametrize(
    ("name", "alpha", "lr", "weight_decay", "eps"),
    [
        ("sgd", 0.5, 1, 0.5, 1),  # depth-muP (SGD): one rate for all depths
        ("sgd", 1.0, 4, 0.25, 1),
        ("adam", 0.5, 0.5, 0.5, 0.5),
        ("adamw", 0.5, 0.5, 1, 0.5),  # depth-muP (Adam): rate / sqrt(L)
        ("adamw", 1.0, 1, 1, 0.25),  # CompleteP, Table 1
        ("muon", 1.0, 1, 1, 0.25),
        ("normalised_sgd", 0.5, 0.5, 1, 0.5),
        ("rmsprop", 1.0, 1, 0.25, 0.25),
    ],
)
def test_the_factors_at_four_times_the_base_depth_are_those_of_the_papers(name, alpha, lr, weight_decay, eps):
    factors = branch_factors(DepthScaling(alpha, 12, 3), OPTIMIZERS[name], name)
    assert factors == BranchFactors(lr=lr, weight_decay=weight_decay, eps=eps, l1=4**-alpha)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parameters_in_branches_get_their_own_settings_and_no_others(name):
    network = NETWORKS["resnet"](8, 3, 10, width=4, shortcut="B")
    recipe = Recipe(optimizer=name, lr=0.5, weight_decay=0.1)
    factors = BranchFactors(lr=2.0, weight_decay=3.0, eps=4.0)
    inside = {id(p) for block in network.blocks() for p in block.branch_parameters()}
    optimizer = make_optimizer(network, recipe, factors)
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {
        id(p) for p in network.parameters()
    }
    for group in optimizer.param_groups:
        (is_inside,) = {id(p) in inside for p in group["params"]}
        assert group.get("lr_scale", 1.0) == (2.0 if is_inside else 1.0)
        assert group["weight_decay"] == pytest.approx(0.3 if is_inside else 0.1)
        if "eps" in group:
            default = 1e-7 if "ns_steps" in group else 1e-8
            assert group["eps"] == pytest.approx(default * (4 if is_inside else 1))


def test_an_update_of_a_branch_has_the_scaled_rate(tiny, digits):
    """With SGD at alpha = 1, three blocks and base 1, the rate in branches is three times as high."""
    options = {"depth_alpha": 1.0, "width": 4}
    run = next(
        tiny(
            options=options, recipe={"momentum": 0.0, "weight_decay": 0.0}, grid={"network": ["resnet"]}
        ).runs()
    )
    trainer = Trainer(run, digits, TrainingMode())
    before = {name: p.detach().clone() for name, p in trainer.network.named_parameters()}
    trainer.advance()
    for name, parameter in trainer.network.named_parameters():
        rate = 0.05 * (3 if name.startswith("stages") else 1)
        torch.testing.assert_close(parameter.detach(), before[name] - rate * parameter.grad)
    assert "the branches of 3 residual blocks are multiplied by 0.3333" in trainer.optimizer_notes[0]


def test_the_scale_and_the_settings_are_stored_with_the_run(tiny, trained):
    def record_of(**changes):
        return trained(next(tiny(grid={"network": ["resnet"]}, **changes).runs()))[0]

    scaled = record_of(options={"depth_alpha": 0.5, "width": 4}).scaled_branches
    assert (scaled.alpha, scaled.blocks, scaled.base_blocks, scaled.lr) == (0.5, 3, 1, 1.0)
    assert scaled.branch == scaled.weight_decay == pytest.approx(3**-0.5)
    unruled = record_of(options={"depth_alpha": 1.0, "width": 4}, recipe={"depth_rules": "none"})
    assert (unruled.scaled_branches.branch, unruled.scaled_branches.lr) == (pytest.approx(1 / 3), 1.0)
    assert "scaled_branches" not in record_of().to_dict()


def test_a_plain_network_and_alpha_0_have_no_rules(tiny):
    for changes in ({}, {"options": {"depth_alpha": 1.0}, "grid": {"network": ["plain"]}}):
        run = next(tiny(**changes).runs())
        assert depth_scaling(NETWORKS[run.family], run, NETWORKS[run.family](8, 1, 10)) is None
    assert factors_in_branches(None, Recipe()) is None


def test_an_optimiser_of_unknown_kind_is_refused_unless_there_are_no_rules(monkeypatch):
    monkeypatch.setitem(OPTIMIZERS, "own", Optimizer("torch.optim:SGD"))
    scaling = DepthScaling(1.0, 9, 3)
    with pytest.raises(BadInput, match=r"own depends on .* is not known"):
        factors_in_branches(scaling, Recipe(optimizer="own"))
    assert factors_in_branches(scaling, Recipe(optimizer="own", depth_rules="none")) is None


def test_a_network_that_names_no_branches_is_refused():
    with pytest.raises(BadInput, match="branch_parameters"):
        make_optimizer(NETWORKS["vgg"](11, 3, 10), Recipe(), BranchFactors(lr=2.0))
