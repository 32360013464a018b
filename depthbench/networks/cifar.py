"""CIFAR residual networks and their plain twins (He et al. 2015, arXiv:1512.03385, sec. 4.2; He et al. 2016,
arXiv:1603.05027).

Depth is 6n + 2 weighted layers, or 9n + 2 with bottlenecks. Shapes: B batch, C channels, H W pixels."""

from torch import Tensor

from depthbench.networks.architectures import NINE_N_PLUS_2, SIX_N_PLUS_2
from depthbench.networks.blocks import BlockOptions, convolution
from depthbench.networks.stages import StagedNet, generator_untouched


class CifarNet(StagedNet):
    """A 3x3 convolution, 3 stages of n blocks that work on `width`, 2 and 4 times `width` channels, global
    average pooling and a linear classifier: (B, in_channels, H, W) -> logits (B, num_classes).

    A plain network ignores `shortcut`, `gate`, `shortcut_dropout` and the scales; basic blocks ignore
    `bottleneck_stride`. Raises BadInput for a depth that is not 6n + 2 (9n + 2 with bottlenecks)."""

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        num_classes: int = 10,
        *,
        residual: bool,
        bottleneck: bool = False,
        width: int,
        shortcut: str,
        norm: str,
        init: str,
        activation: str,
        dropout: float,
        order: str,
        shortcut_scale: float,
        branch_scale: float,
        gate: str,
        gate_bias: float,
        shortcut_dropout: float,
        bottleneck_stride: str,
    ):
        n = (NINE_N_PLUS_2 if bottleneck else SIX_N_PLUS_2).n(depth)
        options = BlockOptions(
            residual=residual,
            bottleneck=bottleneck,
            shortcut=shortcut,
            norm=norm,
            activation=activation,
            dropout=dropout,
            order=order,
            shortcut_scale=shortcut_scale,
            branch_scale=branch_scale,
            gate=gate,
            gate_bias=gate_bias,
            shortcut_dropout=shortcut_dropout,
            bottleneck_stride=bottleneck_stride,
        )
        with generator_untouched():
            conv1 = convolution(3, in_channels, width, 1, options.has_bias)
            super().__init__(conv1, (n, n, n), num_classes, options)
        self.initialise(init)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        x = self.respond(self.norm1, self.activation, self.conv1(x))  # (B, width, H, W)
        return self.classify(x)  # the last stage is (B, 4 width or 16 width, H/4, W/4)
