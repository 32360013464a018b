"""What a network costs: parameters and multiply-adds, counted without computing anything."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(network: nn.Module) -> int:
    """All trainable numbers, normalisation and classifier included."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def count_multiply_adds(network: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Multiply-adds of convolutions and linear maps for one image (C, H, W), as the papers count them."""
    shapes = copy.deepcopy(network).to("meta").eval()  # shapes without numbers
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes(torch.empty(1, *image_shape, device="meta"))
    return counter.get_total_flops() // 2  # an operation each for the product and the sum
