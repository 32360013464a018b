import torch
from torch import nn

from depthbench.networks.cost import count_multiply_adds, count_parameters


def test_a_linear_map_has_a_product_for_each_weight():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    assert count_parameters(network) == 3 * 2 + 2
    assert count_multiply_adds(network, (3, 1, 1)) == 3 * 2


def test_a_convolution_has_them_at_every_place_and_its_norm_has_none():
    network = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    assert count_parameters(network) == 3 * 3 * 2 * 4 + 2 * 4
    assert count_multiply_adds(network, (2, 5, 5)) == (3 * 3 * 2 * 4) * (3 * 3)


def test_frozen_numbers_are_not_counted():
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    network[0].requires_grad_(False)
    assert count_parameters(network) == 3


def test_counting_leaves_the_network_and_the_random_numbers_alone():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    random = torch.get_rng_state()
    count_multiply_adds(network, (1, 2, 2))
    assert network.training
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
