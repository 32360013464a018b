"""Residual networks of grouped bottlenecks (Xie et al. 2017, arXiv:1611.05431, sec. 3.3 and 5.2)."""

from depthbench.networks.architectures import RESNEXT
from depthbench.networks.cifar import CifarNet


class ResNeXt(CifarNet):
    """A ResNeXt for CIFAR: (B, in_channels, H, W) -> logits (B, num_classes).

    It is a 3x3 convolution to `width` channels, 3 stages of n bottlenecks that return 4, 8 and 16 times
    `width` channels, global average pooling and a linear classifier. The 3x3 convolutions of the bottlenecks
    work on `cardinality` groups of `base_width`, 2 and 4 times `base_width` channels. ResNeXt-29 8x64d is
    depth 29 with the default options.

    Raises BadInput for a depth that is not 9n + 2 and for an unknown value, and TypeError for an option that
    ResNeXt does not take."""

    architecture = RESNEXT
