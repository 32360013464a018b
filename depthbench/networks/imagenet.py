"""ImageNet residual networks and their plain twins (He et al. 2015, arXiv:1512.03385, Table 1).

18 and 34 weighted layers in blocks of two 3x3 convolutions; 50, 101 and 152 in bottlenecks. Shapes: B batch,
C channels, H W pixels."""

import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.networks.architectures import IMAGENET_BLOCKS
from depthbench.networks.blocks import BlockOptions
from depthbench.networks.stages import StagedNet, generator_untouched


class ImageNetNet(StagedNet):
    """A 7x7 convolution and 3x3 max pooling, both of stride 2, 4 stages of blocks with `width`, 2, 4 and 8
    times `width` filters (4 times as many after each bottleneck), global average pooling and a linear
    classifier: (B, in_channels, H, W) -> logits (B, num_classes)."""

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        num_classes: int = 1000,
        *,
        residual: bool,
        bottleneck: bool = False,
        width: int,
        shortcut: str,
        norm: str,
        init: str,
        activation: str,
        dropout: float,
        branch_scale: float,
        bottleneck_stride: str,
    ):
        options = BlockOptions(
            residual=residual,
            bottleneck=bottleneck,
            shortcut=shortcut,
            norm=norm,
            activation=activation,
            dropout=dropout,
            order="original",
            shortcut_scale=1.0,
            branch_scale=branch_scale,
            gate="none",
            gate_bias=0.0,
            shortcut_dropout=0.0,
            bottleneck_stride=bottleneck_stride,
        )
        with generator_untouched():
            conv1 = nn.Conv2d(in_channels, width, 7, 2, padding=3, bias=options.has_bias)
            super().__init__(conv1, IMAGENET_BLOCKS[depth], num_classes, options)
        self.initialise(init)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        x = self.respond(self.norm1, self.activation, self.conv1(x))  # (B, width, H/2, W/2)
        x = F.max_pool2d(x, 3, 2, padding=1)  # (B, width, H/4, W/4)
        return self.classify(x)  # the last stage is (B, 8 width or 32 width, H/32, W/32)
