"""Wide residual networks (Zagoruyko & Komodakis 2016, arXiv:1605.07146, sec. 2.3 and Table 1)."""

from depthbench.networks.cifar import CifarNet
from depthbench.networks.families.common import SIX_N_PLUS_4
from depthbench.networks.families.imagenet import BOTTLENECK_DEPTHS
from depthbench.networks.families.wide_resnet import WIDE_IMAGENET_OPTIONS, WIDE_OPTIONS
from depthbench.networks.imagenet import ImageNetNet


class WideResNet(CifarNet):
    """A wide residual network: (B, in_channels, H, W) -> logits (B, num_classes).

    It is a 3x3 convolution to `width` channels, 3 stages of n pre-activated blocks that work on k, 2k and 4k
    times `width` channels (k = `widen`), global average pooling and a linear classifier. WRN-28-10 is depth
    28 with `widen` 10.

    Depth 6n + 4 counts convolutions: the first one, two in each of 3n blocks, and the projections of the
    three shortcuts that change the width. Dropout is between the convolutions of a block (sec. 2.4).

    Raises BadInput for a depth that is not 6n + 4 and for an unknown value, and TypeError for an option that
    wide residual networks do not take."""

    architecture = WIDE_OPTIONS
    depths = SIX_N_PLUS_4


class WideImageNetResNet(ImageNetNet):
    """A wide residual network for ImageNet: (B, in_channels, H, W) -> logits (B, num_classes).

    It is `imagenet.ImageNetNet` with k = `widen` times as many filters in the first two convolutions of each
    bottleneck (WRN-50-2-bottleneck in Table 8 of the paper). The 3x3 convolution has the stride, as in
    torchvision, whose `wide_resnet50_2` and `wide_resnet101_2` these are, except for the initial weights.

    Raises BadInput for a depth other than 50 and 101 and for an unknown value, and TypeError for an option
    that these networks do not take."""

    architecture = WIDE_IMAGENET_OPTIONS
    depths = BOTTLENECK_DEPTHS
