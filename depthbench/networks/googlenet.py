"""GoogLeNet (Szegedy et al. 2015, arXiv:1409.4842, Fig. 2b and Table 1), for small images and for ImageNet.

Like most later implementations, and unlike the paper, it has batch normalisation and no auxiliary
classifiers. Shapes: B batch, C channels, H W pixels."""

from collections.abc import Callable
from typing import Any, ClassVar, cast

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.googlenet import Inception

from depthbench.networks.checkpointing import in_turn
from depthbench.networks.components import drop_input, identity, initialise
from depthbench.networks.conv_layer import ConvLayer
from depthbench.networks.families.googlenet import (
    GOOGLENET_DEPTHS,
    GOOGLENET_IMAGENET_OPTIONS,
    GOOGLENET_OPTIONS,
)
from depthbench.networks.fusing import Respond, in_parts
from depthbench.networks.layers import Layer
from depthbench.networks.options import Architecture, BuiltOptions, complete
from depthbench.networks.stages import blocks_of, generator_untouched

Filters = tuple[int, int, int, int, int, int]
Pool = Callable[[Tensor], Tensor]

WIDTH = 64  # of the first convolution, for which INCEPTIONS has the numbers of the paper
EPSILON = 0.001  # of the norms, as in torchvision

INCEPTIONS: tuple[
    tuple[Filters, ...], ...
] = (  # Table 1: filters of 1x1; before and of 3x3; before and of 5x5; after pooling
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


def conv_layer(c_in: int, c_out: int, *, options: BuiltOptions, **convolution: Any) -> ConvLayer:
    """Return a convolution, norm and activation. Options of the convolution are keywords."""
    layer = ConvLayer(nn.Conv2d(c_in, c_out, bias=options.has_bias, **convolution), options)
    if isinstance(layer.norm, nn.BatchNorm2d):
        layer.norm.eps = EPSILON
    return layer


class InceptionModule(Inception):
    """Parallel branches, concatenated: 1x1, 3x3 and 5x5 convolutions, and pooling (Fig. 2b).

    (B, C, H, W) -> (B, C_out, H', W'), where `pool` acts on the module's input, and makes H' W' of H W. It
    is torchvision's module, whose third branch has a 3x3 convolution, a known error
    (github.com/pytorch/vision/issues/906). With `largest` = 5 the branch is that of the paper."""

    dropout = False  # it draws no random numbers (see checkpointing.py)

    def __init__(
        self,
        c_in: int,
        filters: Filters,
        options: BuiltOptions,
        *,
        largest: int,
        pool: Pool,
    ):
        def conv_block(c_in: int, c_out: int, **convolution: Any) -> nn.Module:
            return conv_layer(c_in, c_out, options=options, **convolution)

        super().__init__(c_in, *filters, conv_block)
        self.branch3[1] = conv_block(filters[3], filters[4], kernel_size=largest, padding=largest // 2)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.pool(x))


class GoogLeNet(nn.Module):
    """A GoogLeNet for small images: (B, in_channels, H, W) -> logits (B, num_classes).

    It is a stem of 3x3, 1x1 and 3x3 convolutions, 3 stages of 2, 5 and 2 inception modules, global average
    pooling and a linear classifier. 3x3 max pooling of stride 2 precedes the second and the third stage. All
    numbers of filters are in proportion to `width`, 64 in the paper.

    Depth 22 counts the layers on the longest path. Dropout is on the input of the classifier. The paper uses
    0.4. Raises BadInput for another depth and for an unknown value, and TypeError for an option that
    GoogLeNet does not take."""

    architecture: ClassVar[Architecture] = GOOGLENET_OPTIONS
    first: ClassVar[dict[str, int]] = {"kernel_size": 3, "padding": 1}  # the first convolution
    largest: ClassVar[int] = 5  # convolution of an inception module

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        num_classes: int = 10,
        *,
        residual: bool = False,
        **options: Any,
    ):
        super().__init__()
        GOOGLENET_DEPTHS.n(depth)
        built = complete(self.architecture, options, residual=residual)

        def scaled(channels: int) -> int:
            return max(1, channels * built.width // WIDTH)

        c_in, inner = scaled(64), scaled(192)
        with generator_untouched():
            self.conv1 = conv_layer(in_channels, c_in, options=built, **self.first)
            self.conv2 = conv_layer(c_in, c_in, options=built, kernel_size=1)
            self.conv3 = conv_layer(c_in, inner, options=built, kernel_size=3, padding=1)
            self.stages = nn.ModuleList()
            c_in = inner
            for pool, modules in zip(self.pools(), INCEPTIONS, strict=True):
                stage = nn.Sequential()
                for k, filters in enumerate(modules):
                    own = cast("Filters", tuple(map(scaled, filters)))
                    before = pool if k == 0 else identity
                    stage.append(InceptionModule(c_in, own, built, largest=self.largest, pool=before))
                    c_in = own[0] + own[2] + own[4] + own[5]
                self.stages.append(stage)
            self.fc = nn.Linear(c_in, num_classes)
        self.run_blocks = in_turn  # or checkpointing.Recomputed
        self.respond: Respond = in_parts  # or fusing.Fused
        drop_input(self.fc, built.dropout)
        initialise([m for m in self.modules() if isinstance(m, nn.Conv2d | nn.Linear)], built.init)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        x = self.conv3(self.conv2(self.conv1(x)))  # (B, 3 width, H, W)
        x = self.run_blocks(self.blocks(), x)  # (B, 16 width, H/4, W/4)
        return self.fc(x.mean((2, 3)))

    def blocks(self) -> list[InceptionModule]:
        """Return the inception modules, input side first."""
        return [module for stage in blocks_of(self.stages) for module in stage]

    def weighted_layers(self) -> list[Layer]:
        """Return the 22 layers of the path through the 3x3 convolutions, input side first.

        Other branches of a module have one or two convolutions next to these."""
        path = [("conv1", "conv1", self.conv1), ("conv2", "1", self.conv2), ("conv3", "1", self.conv3)]
        for s, stage in enumerate(blocks_of(self.stages)):
            for k, module in enumerate(stage):
                for b, layer in enumerate(module.branch2):
                    path.append((f"stages.{s}.{k}.branch2.{b}", str(s + 2), layer))
        layers = [each.as_layer(name, stage) for name, stage, each in path]
        return [*layers, Layer("fc", "fc", self.fc, self.fc)]

    @staticmethod
    def pools() -> tuple[Pool, Pool, Pool]:
        """Return the pooling before each stage."""
        return identity, pool_small, pool_small


class ImageNetGoogLeNet(GoogLeNet):
    """A GoogLeNet for ImageNet: (B, in_channels, H, W) -> logits (B, num_classes), with H, W >= 15.

    The first convolution is 7x7 of stride 2, and 3x3 max pooling of stride 2 follows it and the third
    convolution too. It is torchvision's `googlenet` without auxiliary classifiers, except for the initial
    weights, and has 3x3 convolutions for the paper's 5x5 ones. The rest is as in `GoogLeNet`."""

    architecture = GOOGLENET_IMAGENET_OPTIONS
    first: ClassVar[dict[str, int]] = {"kernel_size": 7, "stride": 2, "padding": 3}
    largest = 3

    def __init__(self, depth: int, in_channels: int = 3, num_classes: int = 1000, **options: Any):
        super().__init__(depth, in_channels, num_classes, **options)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        x = pool_up(self.conv1(x))  # (B, width, H/4, W/4)
        x = self.conv3(self.conv2(x))
        x = self.run_blocks(self.blocks(), x)  # (B, 16 width, H/32, W/32)
        return self.fc(x.mean((2, 3)))

    @staticmethod
    def pools() -> tuple[Pool, Pool, Pool]:
        return pool_up, pool_up, pool_up_2x2


def pool_small(x: Tensor) -> Tensor:
    """Return the 3x3 max pooling of stride 2 with padding, which leaves a map of one pixel."""
    return F.max_pool2d(x, 3, 2, padding=1)


def pool_up(x: Tensor) -> Tensor:
    """Return the 3x3 max pooling of stride 2 that rounds sizes up, as in torchvision."""
    return F.max_pool2d(x, 3, 2, ceil_mode=True)


def pool_up_2x2(x: Tensor) -> Tensor:
    """Return the 2x2 max pooling of stride 2 that rounds sizes up, as in torchvision."""
    return F.max_pool2d(x, 2, 2, ceil_mode=True)
