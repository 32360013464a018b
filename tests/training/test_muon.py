import pytest
import torch
from torch import nn

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.training.building import hidden_weights, make_optimizer
from depthbench.training.muon import Muon, as_matrix
from depthbench.training.settings import Recipe


def recipe_of(**values):
    return Recipe(**{"optimizer": "muon", "lr": 0.02, "momentum": 0.9, "nesterov": True} | values)


def with_gradients(network):
    torch.manual_seed(1)
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    return network


def test_matrices_get_muon_of_torch_and_all_else_gets_its_adamw():
    torch.manual_seed(0)
    network = with_gradients(NETWORKS["resnet_mlp"](depth=6, in_channels=8, width=8))
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    gradients = {name: p.grad.clone() for name, p in network.named_parameters()}
    optimizer = make_optimizer(network, recipe_of(weight_decay=0.1, optimizer_settings={"adamw_lr": 0.5}))
    for group in optimizer.param_groups:
        group["lr"] = 0.02 * group["lr_scale"]
    optimizer.step()
    for name, parameter in network.named_parameters():
        twin = nn.Parameter(before[name].clone())
        twin.grad = gradients[name]
        if name.startswith("hidden") and "linear" in name:
            torch.optim.Muon(
                [twin], 0.02, weight_decay=0.1, momentum=0.9, nesterov=True, adjust_lr_fn="match_rms_adamw"
            ).step()
        else:
            torch.optim.AdamW([twin], 0.01, weight_decay=0.1).step()
        torch.testing.assert_close(parameter, twin, msg=name)
    assert "the 4 weights of hidden layers; adamw updates the other 13 parameters" in optimizer.note


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_is_updated_as_a_matrix_with_orthogonal_rows_in_any_memory_layout(layout):
    kernel = nn.Parameter(torch.randn(8, 4, 3, 3).to(memory_format=layout))
    kernel.grad = torch.randn(8, 4, 3, 3)
    before, gradient = kernel.detach().clone(), kernel.grad.flatten(1)
    groups = [{"params": [kernel], "weight_decay": 0.0}]
    Muon(groups, 1.0, hidden_weights=[kernel], momentum=0.0, adjust_lr_fn="original").step()
    update = (before - kernel.detach()).flatten(1)
    singular = torch.linalg.svdvals(update)
    assert 0.5 < singular.min() < singular.max() < 1.5  # the polynomial is not exact
    u, _, v = torch.linalg.svd(gradient, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(update.flatten(), (u @ v).flatten(), dim=0) > 0.95
    assert as_matrix(kernel, like=kernel).data_ptr() == kernel.data_ptr()


def test_hidden_weights_are_those_of_all_layers_but_the_first_and_the_last():
    network = NETWORKS["resnet"](depth=8, width=4, shortcut="B")
    names = {id(p): name for name, p in network.named_parameters()}
    hidden = [names[id(p)] for p in hidden_weights(network)]
    assert len(hidden) == 6 + 2  # with the two projections
    assert not {"conv1.weight", "fc.weight"} & set(hidden)


def test_a_network_without_hidden_weights_is_refused():
    with pytest.raises(BadInput, match="no weight of a hidden layer"):
        make_optimizer(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), recipe_of())
