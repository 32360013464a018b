"""Very deep convolutional networks for text."""

import pytest
import torch
from torch import nn

from depthbench.errors import BadInput
from depthbench.networks.vdcnn import KEPT, Vdcnn, largest


def made(depth=9, *, residual=True, seed=0, **options):
    torch.manual_seed(seed)
    return Vdcnn(depth, 30, 4, residual=residual, width=8, **options)


@pytest.mark.parametrize("depth", [9, 17, 29, 49])
def test_the_depth_counts_the_convolutions(depth):
    network = made(depth)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv1d)]
    assert len(convolutions) == depth
    assert [layer.weighted for layer in network.weighted_layers()][:depth] == convolutions
    assert len(network.weighted_layers()) == depth + 3


def test_plain_and_residual_networks_have_the_same_weights_and_other_outputs():
    residual, plain = made(17), made(17, residual=False)
    for a, b in zip(residual.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)
    x = torch.randint(0, 30, (3, 40))
    assert not torch.allclose(residual.eval()(x), plain.eval()(x))


def test_a_residual_block_is_its_equation():
    network = made().eval()
    block = network.stages[1][0].block
    x = torch.randn(2, 8, 12)
    y = block.norm2(block.conv2(torch.relu(block.norm1(block.conv1(x)))))
    padded = torch.cat([torch.zeros(2, 4, 12), x, torch.zeros(2, 4, 12)], 1)
    assert torch.allclose(block(x), torch.relu(y + padded))


def test_the_largest_values_stay_in_their_order():
    x = torch.tensor([[[3.0, 9.0, 1.0, 5.0, 7.0]]])
    assert largest(x, 3).tolist() == [[[9, 5, 7]]]
    assert largest(x, 7).tolist() == [[[3, 9, 1, 5, 7, 0, 0]]]


@pytest.mark.parametrize("length", [KEPT, 16, 61, 200])
def test_sequences_of_any_length_have_logits(length):
    assert made()(torch.randint(0, 30, (2, length))).shape == (2, 4)


def test_a_depth_that_the_paper_lacks_names_the_nearest():
    with pytest.raises(BadInput, match="depth 20 does not exist; use 17 or 29"):
        made(20)
