import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from depthbench.networks import NETWORKS
from depthbench.networks.layers import Layer, current_weight, depth_of, outside_of_layers, weighted_layers


class Own(nn.Module):
    """A user's network without a method weighted_layers()."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
        self.body = nn.ModuleList([nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU(), nn.BatchNorm2d(2))])
        self.head = nn.Linear(2, 10)
        self.norm = nn.LayerNorm(10)


def test_layers_of_a_network_that_does_not_name_them():
    network = Own()
    assert weighted_layers(network) == [
        Layer("stem.0", "1", network.stem[0]),
        Layer("body.0.0", "1", network.body[0][0]),
        Layer("head", "fc", network.head),  # the last linear map is the classifier
    ]


def test_layers_that_a_network_names_are_used():
    class Named(Own):
        def weighted_layers(self):
            return [Layer("head", "fc", self.head, self.head)]

    assert [layer.name for layer in weighted_layers(Named())] == ["head"]


def test_a_network_without_layers_cannot_be_measured():
    with pytest.raises(ValueError, match="ReLU has no convolution and no linear layer"):
        weighted_layers(torch.nn.ReLU())


class Mixed(nn.Module):
    """A network with parameters in other modules and of its own."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Parameter(torch.zeros(1, 3, 4))
        self.words, self.linear = nn.Embedding(5, 4), nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
        self.memory = nn.LSTM(4, 4)
        self.attention, self.norm = nn.MultiheadAttention(4, 1), nn.LayerNorm(4)
        self.tied = nn.Linear(4, 5)
        self.tied.weight = self.words.weight


def test_matrices_outside_of_layers_are_listed():
    assert outside_of_layers(Mixed()) == ["tokens", "memory (LSTM)"]
    names = [layer.name for layer in weighted_layers(Mixed())]
    projections = [f"attention.{x}_proj" for x in ("q", "k", "v", "out")]
    assert names == ["linear", *projections, "tied"]
    assert depth_of(weighted_layers(Mixed())) == 3


def test_attention_whose_weight_is_parametrized_is_outside_of_layers():
    network = Mixed()
    nn.utils.parametrizations.weight_norm(network.attention, "in_proj_weight")
    assert outside_of_layers(network)[-1] == "attention (ParametrizedMultiheadAttention)"


@pytest.mark.parametrize("wrap", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_the_current_weight_is_computed_without_a_trace(wrap):
    torch.manual_seed(0)
    layer = wrap(nn.Linear(3, 3))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    weight = current_weight(Layer("a", "1", layer))
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
    assert torch.equal(weight, layer.eval().weight)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("wrap", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_the_current_weight_is_that_of_parameters_that_changed(wrap):
    torch.manual_seed(0)
    layer = wrap(nn.Linear(3, 3))
    layer(torch.ones(1, 3))
    for name, parameter in layer.named_parameters():
        parameter.data.mul_(3 if name.startswith("weight_") else 1)
    before = {name: value.clone() for name, value in layer.named_buffers()}
    weight = current_weight(Layer("a", "1", layer))
    assert all(torch.equal(before[name], value) for name, value in layer.named_buffers())
    layer.eval()(torch.ones(1, 3))
    assert torch.equal(weight, layer.weight)
    assert outside_of_layers(NETWORKS["resnet"](depth=8, width=4, shortcut="C")) == []


def test_the_output_of_attention_is_not_the_classifier():
    network = nn.Sequential(nn.Linear(4, 4), nn.MultiheadAttention(4, 1))
    assert [layer.stage for layer in weighted_layers(network)] == ["1"] * 5


def test_a_subclass_with_another_forward_pass_is_not_taken_for_attention():
    class Own(nn.MultiheadAttention):
        def forward(self, x):
            return self.out_proj(x)

    network = nn.Sequential(Own(4, 1))
    assert [layer.name for layer in weighted_layers(network)] == ["0.out_proj"]
    assert outside_of_layers(network) == ["0.in_proj_weight"]
