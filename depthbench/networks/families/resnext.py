"""Residual networks of grouped bottlenecks for CIFAR and ImageNet (Xie et al. 2017)."""

from depthbench.networks.families.cifar import CIFAR_OPTIONS, cifar_structure
from depthbench.networks.families.common import NINE_N_PLUS_2, describe
from depthbench.networks.families.imagenet import (
    BOTTLENECK_DEPTHS,
    IMAGENET_BOTTLENECKS_FROM,
    IMAGENET_OPTIONS,
)
from depthbench.networks.options import Architecture

RESNEXT_OPTIONS = Architecture(
    "resnext",
    CIFAR_OPTIONS.takes - {"bottleneck_stride"} | {"cardinality", "base_width"},
    {
        "width": 64,
        "cardinality": 8,
        "base_width": 64,
        "order": "original",
        "shortcut": "B",
        "bottleneck_stride": "3x3",
    },
)
RESNEXT_IMAGENET_OPTIONS = Architecture(
    "resnext_imagenet",
    IMAGENET_OPTIONS.takes - {"bottleneck_stride"} | {"cardinality", "base_width"},
    {**IMAGENET_OPTIONS.values, "cardinality": 32, "base_width": 4, "bottleneck_stride": "3x3"},
)

RESNEXT = describe(
    "resnext:ResNeXt",
    "residual CIFAR network, grouped bottlenecks (Xie et al. 2017, sec. 5.3)",
    RESNEXT_OPTIONS,
    NINE_N_PLUS_2,
    options={"residual": True, "bottleneck": True},
    matched="resnet_bottleneck has the same shape. No width of it has exactly as many parameters, because "
    "the 3x3 convolutions here have groups",
    structure=cifar_structure(bottleneck=True),
)
RESNEXT_IMAGENET = describe(
    "resnext:ResNeXtImageNet",
    "residual ImageNet network, grouped bottlenecks (Xie et al. 2017, Table 1)",
    RESNEXT_IMAGENET_OPTIONS,
    BOTTLENECK_DEPTHS,
    options={"residual": True},
    bottlenecks_from=IMAGENET_BOTTLENECKS_FROM,
    matched="resnet_imagenet with bottleneck_stride = 3x3, which has 2 % more parameters at depth 50. The "
    "3x3 convolutions here have groups, so that no weights can be shared",
)
