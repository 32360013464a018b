"""The lower bound of the cost of a step, by hand."""

import pandas as pd
import torch
from torch import nn

from depthbench.bench.case import Case
from depthbench.bench.floor import Cost, floor_seconds, step_cost
from depthbench.networks import NETWORKS
from depthbench.networks.cost import count_multiply_adds
from depthbench.registry import look_up


def test_cost_of_two_linear_maps():
    network = nn.Sequential(nn.Linear(3, 5, bias=False), nn.Linear(5, 2, bias=False))
    network.train()
    cost = step_cost(network, (3,), batch_size=7)
    first, second = 2 * 3 * 5 * 2, 2 * 5 * 2 * 3  # 15 multiply-adds, twice; 10, three times
    assert cost.operations == 7 * (first + second)
    numbers = (2 * 3 + 2 * 5) + (3 * 5 + 2 * 2)  # x forward and backward, z and dL/dz; then dL/dx too
    assert cost.bytes == 4 * 7 * numbers + 4 * 8 * 25
    assert network.training


def test_cost_of_a_convolution():
    network = nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False)
    cost = step_cost(network, (2, 8, 8), batch_size=1, activation_bytes=2)
    outputs = 4 * 4 * 4
    assert cost.operations == 2 * 2 * outputs * 2 * 9
    assert cost.bytes == 2 * (2 * 2 * 64 + 2 * outputs) + 4 * 8 * 4 * 2 * 9


def test_a_step_takes_three_times_the_multiply_adds_except_in_the_first_map():
    case = Case(8, False, 4, "fp32")
    torch.manual_seed(0)
    network = look_up(NETWORKS, "network", "resnet")(depth=8)
    first = 16 * 32 * 32 * 3 * 9
    multiply_adds = 3 * count_multiply_adds(network, case.image_shape) - first
    assert step_cost(network, case.image_shape, 4).operations == 2 * 4 * multiply_adds


def test_the_floor_is_the_larger_of_the_two():
    operations_per_second, bytes_per_second = pd.Series([10.0, 50.0]), pd.Series([50.0, 10.0])
    assert list(floor_seconds(Cost(100, 100), operations_per_second, bytes_per_second)) == [10.0, 10.0]
