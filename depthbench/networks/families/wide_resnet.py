"""Wide residual networks for CIFAR and ImageNet (Zagoruyko & Komodakis 2016)."""

from depthbench.networks.families.cifar import CIFAR_OPTIONS, cifar_structure
from depthbench.networks.families.common import SIX_N_PLUS_4, describe
from depthbench.networks.families.imagenet import (
    BOTTLENECK_DEPTHS,
    IMAGENET_BOTTLENECKS_FROM,
    IMAGENET_OPTIONS,
)
from depthbench.networks.options import Architecture

WIDE_OPTIONS = Architecture(
    "wide_resnet",
    CIFAR_OPTIONS.takes - {"order", "shortcut", "bottleneck_stride"} | {"widen"},
    {"width": 16, "widen": 10, "order": "full_pre", "shortcut": "B"},
)
WIDE_IMAGENET_OPTIONS = Architecture(
    "wide_resnet_imagenet",
    IMAGENET_OPTIONS.takes - {"bottleneck_stride"} | {"widen"},
    {**IMAGENET_OPTIONS.values, "widen": 2, "bottleneck_stride": "3x3"},
)

WIDE_RESNET = describe(
    "wide_resnet:WideResNet",
    "residual CIFAR network with k times as many filters (Zagoruyko & Komodakis 2016)",
    WIDE_OPTIONS,
    SIX_N_PLUS_4,
    options={"residual": True},
    matched="preresnet with 2 layers fewer and k times the width has the same blocks. Its first convolution "
    "is k times as wide, and its shortcuts have no projections, which the depth of wide_resnet counts",
    depth_counts="convolutions with three projections, without the classifier",
    structure=cifar_structure(other_layers=4),
)
WIDE_RESNET_IMAGENET = describe(
    "wide_resnet:WideImageNetResNet",
    "residual ImageNet network with wide bottlenecks (Zagoruyko & Komodakis 2016, sec. 3)",
    WIDE_IMAGENET_OPTIONS,
    BOTTLENECK_DEPTHS,
    options={"residual": True},
    bottlenecks_from=IMAGENET_BOTTLENECKS_FROM,
    matched="resnet_imagenet with bottleneck_stride = 3x3, which has the same blocks with 1/k of the filters "
    "inside. No width of it has as many parameters",
)
