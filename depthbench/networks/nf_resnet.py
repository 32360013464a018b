"""Residual networks without normalisation, by signal propagation (NF-ResNet; Brock, De & Smith 2021,
arXiv:2101.08692).

Shapes: B batch, C channels, H W pixels, O I channels out and in."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from depthbench.networks.blocks import Block, branch_end, drop_input
from depthbench.networks.cifar import CifarNet
from depthbench.networks.components import Activation, Nonlinearity, make_nonlinearity
from depthbench.networks.families.nf_resnet import NF_RESNET_OPTIONS
from depthbench.networks.layers import ComputedConv2d
from depthbench.networks.options import BuiltOptions
from depthbench.networks.shortcuts import ScaledAddition

ALPHA = 0.2  # the scale of every branch
SMALLEST = 1e-4  # below it, the variance of a filter's weights times their number counts as this


class StandardisedConv2d(ComputedConv2d):
    """A convolution with scaled weight standardisation.

    Each filter is shifted and scaled to mean 0 and variance 1 / fan-in, and multiplied by a learned `gain`,
    initially 1. `weight` (O, I, size, size) is the parameter."""

    def __init__(self, c_in: int, c_out: int, size: int, stride: int = 1):
        super().__init__(c_in, c_out, size, stride)
        self.gain = nn.Parameter(torch.ones(c_out, 1, 1, 1))

    def computed(self) -> Tensor:
        variance, mean = torch.var_mean(self.weight, (1, 2, 3), correction=0, keepdim=True)
        fan_in = self.weight[0].numel()
        return (self.weight - mean) * (self.gain * (variance * fan_in).clamp(min=SMALLEST).rsqrt())


def unit_gain(activation: Activation) -> float:
    """Return the factor that makes the variance of an activation of normal numbers 1.

    It is sqrt(2/(1 - 1/pi)) for ReLU."""
    z = torch.linspace(-10, 10, 20_001, dtype=torch.float64)
    density = torch.exp(-(z**2) / 2)
    density /= density.sum()
    y = activation(z)
    mean = (density * y).sum()
    return 1 / math.sqrt(float((density * (y - mean) ** 2).sum()))


class NormalizerFreeBlock(Block):
    """Activation before each of two 3x3 convolutions. The input of the branch is divided by its expected
    standard deviation `beta`, and its output is multiplied by ALPHA."""

    norm_ends_branch = False

    def __init__(self, convolutions: Sequence[nn.Conv2d], activation: Nonlinearity):
        super().__init__(convolutions, "none", activation, is_first=False)
        self.activation = activation.out_of_place
        self.gain = unit_gain(self.activation)
        self.beta = 1.0  # the network sets it

    def forward(self, x: Tensor) -> Tensor:
        y = self.gain * self.activation(x / self.beta)
        z = self.conv2(self.gain * self.activation(self.conv1(y)))
        return self.add(z, y if self.projects else x)


class NormalizerFreeNet(CifarNet):
    """A CIFAR network without normalisation: (B, in_channels, H, W) -> logits (B, num_classes).

    It is a 3x3 convolution, 3 stages of n blocks, an activation, global average pooling and a linear
    classifier. All convolutions are standardised. Where a block changes the shape, its shortcut is a 1x1
    convolution of the activated input. The expected variance of a block's output is that of its input plus
    ALPHA^2, and 1 + ALPHA^2 after a projection. Raises BadInput and TypeError as CifarNet does."""

    architecture = NF_RESNET_OPTIONS

    @staticmethod
    def first_convolution(in_channels: int, options: BuiltOptions) -> nn.Conv2d:
        return StandardisedConv2d(in_channels, options.width, 3)

    @staticmethod
    def make_block(c_in: int, width: int, stride: int, options: BuiltOptions, *, is_first: bool) -> Block:
        convolutions = [StandardisedConv2d(c_in, width, 3, stride), StandardisedConv2d(width, width, 3)]
        block = NormalizerFreeBlock(convolutions, make_nonlinearity(options))
        drop_input(block.conv2, options.dropout)
        block.dropout = options.dropout > 0
        if options.residual:
            block.projects = stride > 1 or c_in != width
            block.shortcut = StandardisedConv2d(c_in, width, 1, stride) if block.projects else nn.Identity()
            block.branch_end = branch_end(width, options)
            block.dropout |= options.survival < 1
            block.add = ScaledAddition(
                block.shortcut, block.branch_end, branch_scale=ALPHA, shortcut_scale=1, dropout=0
            )
        return block

    def initialise(self, init: str) -> None:
        super().initialise(init)
        variance = 1.0
        for block in cast("list[NormalizerFreeBlock]", self.blocks()):
            block.beta = math.sqrt(variance)
            variance = (1.0 if block.projects else variance) + ALPHA**2

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        return self.classify(self.conv1(x))
