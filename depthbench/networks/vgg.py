"""VGG networks (Simonyan & Zisserman 2015, arXiv:1409.1556, Table 1), for small images and for ImageNet.

Shapes: B batch, C channels, H W pixels."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.networks.blocks import convolution
from depthbench.networks.checkpointing import in_turn
from depthbench.networks.components import (
    ACTIVATIONS,
    Activation,
    drop_input,
    halve,
    identity,
    initialise,
    to_side,
)
from depthbench.networks.conv_layer import ConvLayer
from depthbench.networks.families.vgg import VGG_IMAGENET_OPTIONS, VGG_OPTIONS, vgg_convolutions
from depthbench.networks.fusing import Respond, in_parts
from depthbench.networks.layers import Layer
from depthbench.networks.options import BuiltOptions, complete
from depthbench.networks.stages import blocks_of, generator_untouched

FILTERS = (1, 2, 4, 8, 8)  # of each stage, in multiples of the width
MAP_SIDE = 7  # of the map that the fully connected layers for ImageNet are given, in pixels
HIDDEN = 64  # units of a hidden fully connected layer, in multiples of the width


def pool_2x2(x: Tensor) -> Tensor:
    """Return the 2x2 max pooling of x."""
    return F.max_pool2d(x, 2)


class VggLayer(ConvLayer):
    """A 3x3 convolution, norm, activation and `pool`, which is the identity unless it ends its stage."""

    dropout = False  # it draws no random numbers (see checkpointing.py)

    def __init__(self, conv: nn.Conv2d, options: BuiltOptions, *, pool: Activation):
        super().__init__(conv, options)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:  # (B, C_in, H, W)
        return self.pool(super().forward(x))


class VggNet(nn.Module):
    """What both networks share: 5 stages of 3x3 convolutions, each of which ends with `pool`."""

    fc: nn.Linear

    def __init__(
        self,
        convolutions: Sequence[int],
        in_channels: int,
        options: BuiltOptions,
        *,
        bias: bool,
        pool: Activation,
    ):
        super().__init__()
        self.stages = nn.ModuleList()
        c_in = in_channels
        for filters, count in zip(FILTERS, convolutions, strict=True):
            stage = nn.Sequential()
            for k in range(count):
                conv = convolution(3, c_in, filters * options.width, bias=bias)
                stage.append(VggLayer(conv, options, pool=pool if k == count - 1 else identity))
                c_in = conv.out_channels
            self.stages.append(stage)
        self.channels = c_in
        self.run_blocks = in_turn  # or checkpointing.Recomputed
        self.respond: Respond = in_parts  # or fusing.Fused

    def initialise(self, init: str) -> None:
        """Draw all weights, in the order of the layers."""
        initialise([layer.weighted for layer in self.weighted_layers()], init)

    def blocks(self) -> list[VggLayer]:
        """Return the convolutional layers, input side first."""
        return [layer for stage in blocks_of(self.stages) for layer in stage]

    def dense_layers(self) -> list[Layer]:
        """Return the fully connected layers."""
        return [Layer("fc", "fc", self.fc, self.fc)]

    def weighted_layers(self) -> list[Layer]:
        """Return the weighted layers, input side first."""
        layers = [
            layer.as_layer(f"stages.{s}.{k}", str(s + 1))
            for s, stage in enumerate(blocks_of(self.stages))
            for k, layer in enumerate(stage)
        ]
        return [*layers, *self.dense_layers()]


class Vgg(VggNet):
    """A VGG network for small images: (B, in_channels, H, W) -> logits (B, num_classes).

    It is 5 stages of 3x3 convolutions with 1, 2, 4, 8 and 8 times `width` filters, 2x2 max pooling after each
    stage, global average pooling and a linear classifier in place of the paper's three fully connected
    layers. 32x32 pixels leave one pixel after the last pooling. A side of one pixel is not pooled further.

    `norm` is batch, as in all later work, and none in the paper. Dropout is on the input of the classifier.
    Depths are those of Table 1 and deeper ones (see vgg_convolutions). Raises BadInput for another
    depth and for an unknown value, and TypeError for an option that VGG networks do not take."""

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        num_classes: int = 10,
        *,
        residual: bool = False,
        **options: Any,
    ):
        convolutions = vgg_convolutions(depth)
        built = complete(VGG_OPTIONS, options, residual=residual)
        with generator_untouched():
            super().__init__(convolutions, in_channels, built, bias=built.has_bias, pool=halve)
            self.fc = nn.Linear(self.channels, num_classes)
        drop_input(self.fc, built.dropout)
        self.initialise(built.init)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        x = self.run_blocks(self.blocks(), x)  # (B, 8 width, H/32, W/32)
        return self.fc(x.mean((2, 3)))


class ImageNetVgg(VggNet):
    """A VGG network for ImageNet: (B, in_channels, H, W) -> logits (B, num_classes), with H, W >= 32.

    It is 5 stages of 3x3 convolutions with 1, 2, 4, 8 and 8 times `width` filters, 2x2 max pooling after each
    stage, and three fully connected layers. 224x224 pixels leave the 7x7 that these are made for. Other maps
    are averaged to, or repeated in, 7x7 pixels. Except for the initial weights, the networks of Table 1 are
    torchvision's `vgg11_bn` to `vgg19_bn`, and with `norm` = none `vgg11` to `vgg19`, as in the paper.

    Dropout is on the inputs of the second and third fully connected layer. The paper uses 0.5. Raises
    BadInput and TypeError as `Vgg` does."""

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        num_classes: int = 1000,
        *,
        residual: bool = False,
        **options: Any,
    ):
        convolutions = vgg_convolutions(depth)
        built = complete(VGG_IMAGENET_OPTIONS, options, residual=residual)
        with generator_untouched():
            # a bias with a norm too, as in torchvision
            super().__init__(convolutions, in_channels, built, bias=True, pool=pool_2x2)
            hidden = HIDDEN * built.width
            self.fc1 = nn.Linear(self.channels * MAP_SIDE**2, hidden)
            self.fc2 = nn.Linear(hidden, hidden)
            self.fc = nn.Linear(hidden, num_classes)
        self.activation = ACTIVATIONS[built.activation]
        drop_input(self.fc2, built.dropout)
        drop_input(self.fc, built.dropout)
        self.initialise(built.init)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        x = self.run_blocks(self.blocks(), x)  # (B, 8 width, H/32, W/32)
        x = to_side(x, MAP_SIDE).flatten(1)
        x = self.activation(self.fc1(x))
        x = self.activation(self.fc2(x))
        return self.fc(x)

    def dense_layers(self) -> list[Layer]:
        hidden = [Layer("fc1", "dense", self.fc1, self.fc1), Layer("fc2", "dense", self.fc2, self.fc2)]
        return [*hidden, *super().dense_layers()]
