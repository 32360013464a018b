"""Residual networks without normalisation, by initialisation (Fixup; Zhang, Dauphin & Ma 2019,
arXiv:1901.09321).

Shapes: B batch, C channels, H W pixels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from depthbench.networks.blocks import Block, add_shortcut, convolution
from depthbench.networks.cifar import CifarNet
from depthbench.networks.components import Nonlinearity, Scale, drop_input, make_nonlinearity
from depthbench.networks.families.fixup import FIXUP_OPTIONS
from depthbench.networks.options import BuiltOptions


class Bias(nn.Module):
    """A learned number, initially 0, that is added to all of x."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


class FixupBlock(Block):
    """Two 3x3 convolutions with a bias before each convolution and each activation, and a learned factor of
    the branch, initially 1."""

    def __init__(self, convolutions: Sequence[nn.Conv2d], activation: Nonlinearity):
        super().__init__(convolutions, "none", activation, is_first=False)
        self.bias1a, self.bias1b, self.bias2a, self.bias2b = Bias(), Bias(), Bias(), Bias()
        self.scale = Scale(1)

    def forward(self, x: Tensor) -> Tensor:
        x_biased = self.bias1a(x)
        y = self.activation(self.bias1b(self.conv1(x_biased)))
        y = self.bias2b(self.scale(self.conv2(self.bias2a(y))))
        return self.activation(self.add(y, x_biased if self.projects else x))


class FixupNet(CifarNet):
    """A CIFAR network without normalisation: (B, in_channels, H, W) -> logits (B, num_classes).

    Its layers are those of CifarNet, and so are its initial weights, except in the branches and the
    classifier: in L blocks whose branch has m = 2 convolutions, the first one of each branch is scaled by
    L^(-1/(2m - 2)), and the last one is zero, as is the classifier. Every block begins as its shortcut. At
    step 0 only the classifier has a gradient, at step 1 also the last convolution of each branch.

    Raises BadInput and TypeError as CifarNet does. In the paper, biases and factors learn at a tenth of the
    learning rate; here all parameters have the same."""

    architecture = FIXUP_OPTIONS

    @staticmethod
    def first_convolution(in_channels: int, options: BuiltOptions) -> nn.Conv2d:
        return convolution(3, in_channels, options.width, bias=False)

    @staticmethod
    def make_block(c_in: int, width: int, stride: int, options: BuiltOptions, *, is_first: bool) -> Block:
        convolutions = [
            convolution(3, c_in, width, stride, bias=False),
            convolution(3, width, width, bias=False),
        ]
        block = FixupBlock(convolutions, make_nonlinearity(options))
        drop_input(block.conv2, options.dropout)
        block.dropout = options.dropout > 0
        if options.residual:
            add_shortcut(block, options)
        return block

    @torch.no_grad()
    def initialise(self, init: str) -> None:
        super().initialise(init)
        self.norm1, self.norm_last = Bias(), Bias()
        blocks = self.blocks()
        for block in blocks:
            first, last = block.convolutions
            first.weight.mul_(len(blocks) ** -0.5)
            last.weight.zero_()
        self.fc.weight.zero_()
