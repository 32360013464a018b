import pytest
import torch
from torch import nn

from depthbench.errors import BadNetwork
from depthbench.networks.lazy import initialise_lazily, is_lazy


def test_a_lazy_network_gets_its_shapes_without_a_change_of_statistics():
    network = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(10))
    assert is_lazy(network)
    initialise_lazily(network, (3, 8, 8))
    assert not is_lazy(network)
    assert network.training
    assert network[1].num_batches_tracked == 0
    assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 10)


class Auxiliary(nn.Module):
    """A network with a head that it uses in training mode only."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.BatchNorm1d(16))
        self.head, self.other = nn.LazyLinear(10), nn.Sequential(nn.LazyBatchNorm1d(), nn.LazyLinear(10))

    def forward(self, x):
        x = self.body(x)
        return (self.head(x), self.other(x)) if self.training else self.head(x)


def test_a_layer_that_is_called_in_training_mode_only_gets_its_shape():
    network = Auxiliary()
    initialise_lazily(network, (1, 8, 8))
    assert network.other[1].weight.shape == (10, 16)
    assert [network.body[2].num_batches_tracked, network.other[0].num_batches_tracked] == [0, 0]
    assert network.other[0].running_var.eq(1).all()


@pytest.mark.parametrize(
    ("unused", "named"),
    [
        ({"spare": nn.LazyLinear(3)}, "spare"),
        ({"spare": nn.LazyBatchNorm1d(affine=False)}, "spare"),
        ({"a": nn.LazyLinear(3), "b": nn.LazyConv2d(3, 1)}, "a or b"),
    ],
)
def test_a_layer_that_no_batch_reaches_is_named(unused, named):
    network = Auxiliary()
    for name, layer in unused.items():
        network.add_module(name, layer)
    with pytest.raises(
        BadNetwork, match=f"^no batch reaches its lazy layer {named}, which .*; call it in forward"
    ):
        initialise_lazily(network, (1, 8, 8))
