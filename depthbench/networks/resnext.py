"""Residual networks of grouped bottlenecks (Xie et al. 2017, arXiv:1611.05431, sec. 3.3 and 5.3)."""

from depthbench.networks.cifar import CifarNet
from depthbench.networks.families.imagenet import BOTTLENECK_DEPTHS
from depthbench.networks.families.resnext import RESNEXT_IMAGENET_OPTIONS, RESNEXT_OPTIONS
from depthbench.networks.imagenet import ImageNetNet


class ResNeXt(CifarNet):
    """A ResNeXt for CIFAR: (B, in_channels, H, W) -> logits (B, num_classes).

    It is a 3x3 convolution to `width` channels, 3 stages of n bottlenecks that return 4, 8 and 16 times
    `width` channels, global average pooling and a linear classifier. The 3x3 convolutions of the bottlenecks
    work on `cardinality` groups of `base_width`, 2 and 4 times `base_width` channels. ResNeXt-29 8x64d is
    depth 29 with the default options.

    Raises BadInput for a depth that is not 9n + 2 and for an unknown value, and TypeError for an option that
    ResNeXt does not take."""

    architecture = RESNEXT_OPTIONS


class ResNeXtImageNet(ImageNetNet):
    """A ResNeXt for ImageNet: (B, in_channels, H, W) -> logits (B, num_classes).

    It is `imagenet.ImageNetNet` with grouped bottlenecks (Table 1). The 3x3 convolution has the stride.
    ResNeXt-50 32x4d, torchvision's `resnext50_32x4d`, is depth 50 with the default options.

    Raises BadInput for a depth other than 50 and 101 and for an unknown value, and TypeError for an option
    that ResNeXt does not take."""

    architecture = RESNEXT_IMAGENET_OPTIONS
    depths = BOTTLENECK_DEPTHS
