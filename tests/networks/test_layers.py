import pytest
import torch
from torch import nn

from depthbench.networks.layers import Layer, weighted_layers


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
