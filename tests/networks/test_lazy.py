import torch
from torch import nn

from depthbench.networks.lazy import initialise_lazily, is_lazy


def test_a_lazy_network_gets_its_shapes_without_a_change_of_statistics():
    network = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(10))
    assert is_lazy(network)
    initialise_lazily(network, (3, 8, 8))
    assert not is_lazy(network)
    assert network.training
    assert network[1].num_batches_tracked == 0
    assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 10)
