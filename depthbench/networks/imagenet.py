"""ImageNet residual networks and their plain twins (He et al. 2015, arXiv:1512.03385, Table 1).

Networks of 18 and 34 weighted layers have blocks of two 3x3 convolutions, and those of 50, 101 and 152 have
bottlenecks. Shapes: B batch, C channels, H W pixels."""

from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.networks.blocks import convolution
from depthbench.networks.families.imagenet import (
    IMAGENET_BLOCKS,
    IMAGENET_BOTTLENECKS_FROM,
    IMAGENET_DEPTHS,
    IMAGENET_OPTIONS,
)
from depthbench.networks.family import DepthList
from depthbench.networks.options import Architecture, BuiltOptions, complete
from depthbench.networks.stages import StagedNet, generator_untouched


class ImageNetNet(StagedNet):
    """An ImageNet network: (B, in_channels, H, W) -> logits (B, num_classes).

    It is a stem, 4 stages of blocks with `width`, 2, 4 and 8 times `width` filters (4 times as many after
    each bottleneck), global average pooling and a linear classifier. The stem is a 7x7 convolution and 3x3
    max pooling, both of stride 2, or with `stem` = cifar a 3x3 convolution of stride 1.

    `options` are those of NetworkOptions that ImageNet networks take. An unset one has the paper's value.
    Raises BadInput for a depth that is not in Table 1 and for an unknown value, and TypeError for an option
    that ImageNet networks do not take. A relative is a subclass with an architecture of its own."""

    architecture: ClassVar[Architecture] = IMAGENET_OPTIONS
    depths: ClassVar[DepthList] = IMAGENET_DEPTHS

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        num_classes: int = 1000,
        *,
        residual: bool,
        **options: Any,
    ):
        self.depths.n(depth)
        bottleneck = depth >= IMAGENET_BOTTLENECKS_FROM
        blocks = IMAGENET_BLOCKS[depth]
        built = complete(
            self.architecture,
            options,
            residual=residual,
            bottleneck=bottleneck,
            depth=depth,
            blocks=sum(blocks),
        )
        with generator_untouched():
            conv1 = first_convolution(in_channels, built.width, built)
            super().__init__(conv1, blocks, num_classes, built)
        self.pools = has_pooling(built)
        self.initialise(built.init)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        x = self.respond(self.norm1, self.activation, self.conv1(x))  # (B, width, H/2, W/2)
        if self.pools:
            x = pool_stem(x)  # (B, width, H/4, W/4)
        return self.classify(x)  # the last stage is (B, 8 width or 32 width, H/32, W/32)


def first_convolution(in_channels: int, channels: int, options: BuiltOptions) -> nn.Conv2d:
    """Return the convolution that begins the stem: 7x7 of stride 2 or, for CIFAR images, 3x3 of stride 1."""
    size, stride = (7, 2) if has_pooling(options) else (3, 1)
    return convolution(size, in_channels, channels, stride, bias=options.has_bias)


def has_pooling(options: BuiltOptions) -> bool:
    """Return whether max pooling ends the stem."""
    return options.stem == "imagenet"


def pool_stem(x: Tensor) -> Tensor:
    """Return the 3x3 max pooling of stride 2 of x: (B, C, H, W) -> (B, C, H/2, W/2)."""
    return F.max_pool2d(x, 3, 2, padding=1)
