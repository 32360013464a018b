"""Plain networks whose convolutions contain the identity (DiracNet; Zagoruyko & Komodakis 2017,
arXiv:1706.00388).

Shapes: B batch, H W pixels, O I channels out and in."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.networks.blocks import BasicBlock, Block, drop_input
from depthbench.networks.cifar import CifarNet
from depthbench.networks.components import make_nonlinearity
from depthbench.networks.families.diracnet import DIRACNET_OPTIONS
from depthbench.networks.layers import ComputedConv2d
from depthbench.networks.options import BuiltOptions

A, B = 1.0, 0.1  # the initial factors of the identity and of the weight


class DiracConv2d(ComputedConv2d):
    """A convolution with the weight diag(a) I + diag(b) W / |W|.

    |W| is the L2 norm of each filter. I maps channel i to channel i, for the channels that both sides have.
    `weight` (O, I, 3, 3) is the parameter W."""

    identity: Tensor

    def __init__(self, c_in: int, c_out: int, stride: int = 1, *, bias: bool = False):
        super().__init__(c_in, c_out, 3, stride, bias=bias)
        self.register_buffer("identity", nn.init.dirac_(torch.empty_like(self.weight)), persistent=False)
        self.a = nn.Parameter(torch.full((c_out, 1, 1, 1), A))
        self.b = nn.Parameter(torch.full((c_out, 1, 1, 1), B))

    def computed(self) -> Tensor:
        return self.a * self.identity + self.b * F.normalize(self.weight.flatten(1)).view_as(self.weight)


class DiracNet(CifarNet):
    """A plain CIFAR network of Dirac convolutions: (B, in_channels, H, W) -> logits (B, num_classes).

    Its layers are those of CifarNet without shortcuts. All convolutions but the first contain the identity,
    also those that halve the map. Raises BadInput and TypeError as CifarNet does."""

    architecture = DIRACNET_OPTIONS

    @staticmethod
    def make_block(c_in: int, width: int, stride: int, options: BuiltOptions, *, is_first: bool) -> Block:
        bias = options.has_bias
        convolutions = [
            DiracConv2d(c_in, width, stride, bias=bias),
            DiracConv2d(width, width, bias=bias),
        ]
        block = BasicBlock(convolutions, options.norm, make_nonlinearity(options), is_first=is_first)
        drop_input(block.conv2, options.dropout)
        block.dropout = options.dropout > 0
        return block
