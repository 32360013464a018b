"""CIFAR residual networks and their plain twins (He et al. 2015, arXiv:1512.03385, sec. 4.2; He et al. 2016,
arXiv:1603.05027).

Depth is 6n + 2 weighted layers, or 9n + 2 with bottlenecks. Shapes: B batch, C channels, H W pixels."""

from typing import Any, ClassVar

from torch import Tensor, nn

from depthbench.networks.blocks import convolution
from depthbench.networks.families.cifar import CIFAR_OPTIONS, cifar_depths
from depthbench.networks.family import DepthRule
from depthbench.networks.options import Architecture, BuiltOptions, complete
from depthbench.networks.stages import StagedNet, generator_untouched


class CifarNet(StagedNet):
    """A CIFAR network: (B, in_channels, H, W) -> logits (B, num_classes).

    It is a 3x3 convolution, 3 stages of n blocks that work on `width`, 2 and 4 times `width` channels, global
    average pooling and a linear classifier.

    `options` are those of NetworkOptions that CIFAR networks take. An unset one has the paper's value.
    A plain network ignores `shortcut`, `gate`, `shortcut_dropout` and the scales; basic blocks ignore
    `bottleneck_stride`. Raises BadInput for a depth that is not 6n + 2 (9n + 2 with bottlenecks) and for an
    unknown value, and TypeError for an option that CIFAR networks do not take. A relative is a subclass with
    an architecture of its own."""

    architecture: ClassVar[Architecture] = CIFAR_OPTIONS
    depths: ClassVar[DepthRule | None] = None  # None: that of basic blocks or of bottlenecks

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        num_classes: int = 10,
        *,
        residual: bool,
        bottleneck: bool = False,
        **options: Any,
    ):
        n = (self.depths or cifar_depths(bottleneck=bottleneck)).n(depth)
        built = complete(
            self.architecture, options, residual=residual, bottleneck=bottleneck, depth=depth, blocks=3 * n
        )
        width = built.width * (built.widen or 1)
        with generator_untouched():
            conv1 = self.first_convolution(in_channels, built)
            super().__init__(conv1, (n, n, n), num_classes, built, width=width)
        self.initialise(built.init)

    @staticmethod
    def first_convolution(in_channels: int, options: BuiltOptions) -> nn.Conv2d:
        """Return the first convolution, to `width` channels."""
        return convolution(3, in_channels, options.width, bias=options.has_bias)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        x = self.respond(self.norm1, self.activation, self.conv1(x))  # (B, width, H, W)
        return self.classify(x)  # the last stage divides H and W by 4
