import math

import pytest
import torch
from torch import nn

from depthbench.probes.gradient_norm import PREACTIVATION, WEIGHT, gradient_norm, l2, l2_of_each


def test_norm_of_a_linear_layer_is_the_norm_of_its_input():
    network = nn.Sequential(nn.Linear(2, 1, bias=False))
    network(torch.tensor([[3.0, 4.0]])).sum().backward()
    assert gradient_norm(network) == {"0": 5.0}


def test_gradients_of_a_batch_are_added_before_the_norm_is_taken():
    network = nn.Sequential(nn.Linear(2, 1, bias=False))
    network(torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]])).sum().backward()
    assert gradient_norm(network) == {"0": 5.0}


def test_a_layer_without_a_gradient_is_nan():
    network = nn.Sequential(nn.Linear(2, 1))
    assert math.isnan(gradient_norm(network)["0"])


def test_norms_of_bfloat16_numbers_are_summed_in_float64():
    x = torch.full((10_000,), 0.01, dtype=torch.bfloat16)
    assert l2(x).dtype == torch.float64
    assert l2(x).item() == pytest.approx(100 * x[0].item(), rel=1e-6)
    assert l2(x.double()).dtype == torch.float64


def test_the_tensor_of_each_probe():
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([3.0, 4.0])
    assert WEIGHT.of == "weight"
    assert WEIGHT.measure(weight) == 5.0
    assert PREACTIVATION.of == "preactivation_gradient"
    assert PREACTIVATION.measure(torch.tensor([[6.0], [8.0]])) == 10.0


def test_a_vanished_gradient_is_small_and_not_zero():
    assert l2(torch.full((100,), 1e-30)).item() == pytest.approx(1e-29, rel=1e-6)


@pytest.mark.parametrize("size", [1e-30, 1e-19, 1e-8, 1.0, 1e8, 1e25])
@pytest.mark.parametrize("shape", [(7,), (3_000_000,), (5, 3000), (64, 16, 32, 32), (2, 3, 5, 7, 3)])
def test_norms_are_right_to_the_last_digit_at_every_size(size, shape):
    x = size * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else x
    assert l2(x).item() == pytest.approx(x.double().norm().item(), rel=torch.finfo(torch.float32).eps)


def test_large_and_vanished_numbers_in_one_tensor():
    x = torch.zeros(64, 4096)
    x[0] = 1e-25
    assert l2(x).item() == pytest.approx(1e-25 * 64, rel=1e-7)
    x[1, 0] = 1e-18
    assert l2(x).item() == pytest.approx(1e-18, rel=1e-7)
    assert torch.isinf(l2(torch.tensor([float("inf"), 1.0])))
    assert torch.isnan(l2(torch.tensor([float("nan"), 1.0])))


def test_norms_of_all_layers_at_once_equal_those_of_each():
    tensors = [torch.randn(3, 4), 1e-30 * torch.randn(100), torch.randn(2, 3, 4, 5)]
    together = l2_of_each(tensors)
    assert together.dtype == torch.float64
    assert together.tolist() == pytest.approx([l2(x).item() for x in tensors], rel=1e-7)
