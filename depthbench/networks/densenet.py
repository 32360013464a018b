"""Densely connected networks for CIFAR and ImageNet (Huang et al. 2017, arXiv:1608.06993, sec. 3).

Shapes: B batch, C channels, H W pixels."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.networks.blocks import convolution
from depthbench.networks.checkpointing import in_turn
from depthbench.networks.components import ACTIVATIONS, OUT_OF_PLACE, initialise, make_norm
from depthbench.networks.families.common import SIX_N_PLUS_4
from depthbench.networks.families.densenet import (
    DENSENET_BC_OPTIONS,
    DENSENET_BLOCKS,
    DENSENET_DEPTHS,
    DENSENET_IMAGENET_OPTIONS,
    DENSENET_OPTIONS,
    THREE_N_PLUS_4,
)
from depthbench.networks.fusing import Respond, in_parts
from depthbench.networks.imagenet import first_convolution, has_pooling, pool_stem
from depthbench.networks.layers import Layer, response_of
from depthbench.networks.options import BuiltOptions, complete
from depthbench.networks.stages import blocks_of, generator_untouched, layers_of

FIRST_CHANNELS = 16  # that the first convolution returns, or with bottlenecks 2 k (sec. 3, implementation)
BOTTLENECK = 4  # a bottleneck returns this many times the growth rate
COMPRESSION = 0.5  # the fraction of channels that a transition keeps, with bottlenecks


class PreActivated(nn.Module):
    """What dense layers and transitions share: convolutions that each follow a norm and an activation."""

    def __init__(self, convolutions: list[nn.Conv2d], options: BuiltOptions):
        super().__init__()
        self.convolutions = tuple(convolutions)
        self.norms = tuple(make_norm(options.norm, conv.in_channels) for conv in convolutions)
        for k, (norm, conv) in enumerate(zip(self.norms, self.convolutions, strict=True), 1):
            self.add_module(f"norm{k}", norm)
            self.add_module(f"conv{k}", conv)
        activations = OUT_OF_PLACE if options.norm == "none" else ACTIVATIONS  # the input is still needed
        self.activation = activations[options.activation]
        self.probability = options.dropout
        self.respond: Respond = in_parts  # or fusing.Fused
        self.dropout = options.dropout > 0  # whether it draws random numbers (see checkpointing.py)

    def new(self, x: Tensor) -> Tensor:
        """Return the features that are computed from x, after dropout (sec. 4.2)."""
        for norm, conv in zip(self.norms, self.convolutions, strict=True):
            x = conv(self.respond(norm, self.activation, x))
            if self.dropout:
                x = F.dropout(x, self.probability, self.training)
        return x

    def responses(self) -> list[nn.Module]:
        """Return the module with the response of each convolution as its output."""
        inner = [
            response_of(conv, norm) for conv, norm in zip(self.convolutions, self.norms[1:], strict=False)
        ]
        return [*inner, self.convolutions[-1]]


class DenseLayer(PreActivated):
    """The concatenation [x, H(x)] (eq. 2): (B, C, H, W) -> (B, C + growth, H, W)."""

    def __init__(self, c_in: int, growth: int, options: BuiltOptions):
        bias = options.has_bias
        if options.bottleneck:
            inner = BOTTLENECK * growth
            layers = [convolution(1, c_in, inner, bias=bias), convolution(3, inner, growth, bias=bias)]
        else:
            layers = [convolution(3, c_in, growth, bias=bias)]
        super().__init__(layers, options)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.new(x)], 1)


class Transition(PreActivated):
    """A 1x1 convolution and average pooling: (B, C, H, W) -> (B, C_out, H/2, W/2)."""

    def __init__(self, c_in: int, c_out: int, options: BuiltOptions):
        super().__init__([convolution(1, c_in, c_out, bias=options.has_bias)], options)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.new(x), 2, ceil_mode=True)  # so that a map of one pixel stays one


class ConcatenatingNet(nn.Module):
    """What the networks for CIFAR and ImageNet share: dense blocks between a first convolution and a
    classifier.

    A transition follows each block but the last, then come a norm and an activation, global average pooling
    and a linear classifier. `norm1` follows the first convolution. Weights are drawn in the order of the
    layers."""

    def __init__(
        self,
        conv1: nn.Conv2d,
        layers_per_block: Sequence[int],
        num_classes: int,
        options: BuiltOptions,
        *,
        norm1: nn.Module,
    ):
        super().__init__()
        assert options.growth is not None  # the architecture has a value
        channels = conv1.out_channels
        self.conv1, self.norm1 = conv1, norm1
        self.stages = nn.ModuleList()
        for s, count in enumerate(layers_per_block):
            stage = nn.Sequential()
            for _ in range(count):
                stage.append(DenseLayer(channels, options.growth, options))
                channels += options.growth
            if s < len(layers_per_block) - 1:
                kept = int(COMPRESSION * channels) if options.bottleneck else channels
                stage.append(Transition(channels, kept, options))
                channels = kept
            self.stages.append(stage)
        self.norm = make_norm(options.norm, channels)
        self.activation = ACTIVATIONS[options.activation]
        self.fc = nn.Linear(channels, num_classes)
        self.run_blocks = in_turn  # or checkpointing.Recomputed
        self.respond: Respond = in_parts  # or fusing.Fused

    def initialise(self, init: str) -> None:
        """Draw all weights."""
        initialise([layer.weighted for layer in self.weighted_layers()], init)

    def classify(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of x (B, C, H, W), the input of the first block."""
        x = self.run_blocks(self.blocks(), x)
        x = self.respond(self.norm, self.activation, x)
        return self.fc(x.mean((2, 3)))

    def blocks(self) -> list[PreActivated]:
        """Return the dense layers and transitions, input side first."""
        return [block for stage in blocks_of(self.stages) for block in stage]

    def weighted_layers(self) -> list[Layer]:
        """Return the `depth` weighted layers, input side first. A transition ends its stage.

        A norm after a layer of 4 k channels is its own. Other outputs are concatenated before a norm, so that
        their response is the output itself."""
        layers = [Layer("conv1", "conv1", self.conv1, response_of(self.conv1, self.norm1))]
        return [*layers, *layers_of(blocks_of(self.stages)), Layer("fc", "fc", self.fc, self.fc)]


class DenseNet(ConcatenatingNet):
    """A DenseNet for CIFAR: (B, in_channels, H, W) -> logits (B, num_classes).

    It is a 3x3 convolution, 3 dense blocks of n layers with a transition after the first and the second, a
    norm and an activation, global average pooling and a linear classifier. Each layer adds k = `growth`
    channels to what it is given. With bottlenecks and compression (DenseNet-BC), a layer is a 1x1 convolution
    to 4 k channels and a 3x3 one, the first convolution returns 2 k channels and not 16, and a transition
    keeps half of the channels.

    Raises BadInput for a depth that is not 3n + 4 (6n + 4 with bottlenecks) and for an unknown value, and
    TypeError for an option that DenseNets do not take."""

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        num_classes: int = 10,
        *,
        bottleneck: bool = False,
        **options: Any,
    ):
        n = (SIX_N_PLUS_4 if bottleneck else THREE_N_PLUS_4).n(depth)
        architecture = DENSENET_BC_OPTIONS if bottleneck else DENSENET_OPTIONS
        built = complete(architecture, options, residual=False, bottleneck=bottleneck)
        channels = 2 * built.growth if bottleneck and built.growth else FIRST_CHANNELS
        with generator_untouched():
            conv1 = convolution(3, in_channels, channels, bias=built.has_bias)
            super().__init__(conv1, (n, n, n), num_classes, built, norm1=nn.Identity())
        self.initialise(built.init)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        return self.classify(self.conv1(x))


class ImageNetDenseNet(ConcatenatingNet):
    """A DenseNet for ImageNet: (B, in_channels, H, W) -> logits (B, num_classes).

    It is a stem of 2 k channels (see imagenet.ImageNetNet), 4 dense blocks with bottlenecks and compression,
    a norm and an activation, global average pooling and a linear classifier (Table 1). The networks of depth
    121, 161, 169 and 201 are torchvision's, except for the initial weights.

    Raises BadInput for a depth that is not in DENSENET_BLOCKS and for an unknown value, and TypeError for an
    option that these networks do not take."""

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        num_classes: int = 1000,
        *,
        bottleneck: bool = True,
        **options: Any,
    ):
        DENSENET_DEPTHS.n(depth)
        architecture = DENSENET_IMAGENET_OPTIONS
        built = complete(architecture, options, residual=False, bottleneck=bottleneck, depth=depth)
        assert built.growth is not None  # the architecture has a value
        with generator_untouched():
            conv1 = first_convolution(in_channels, 2 * built.growth, built)
            norm1 = make_norm(built.norm, conv1.out_channels)
            super().__init__(conv1, DENSENET_BLOCKS[depth], num_classes, built, norm1=norm1)
        self.pools = has_pooling(built)
        self.initialise(built.init)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        x = self.respond(self.norm1, self.activation, self.conv1(x))
        return self.classify(pool_stem(x) if self.pools else x)
