"""Densely connected networks for CIFAR and ImageNet (Huang et al. 2017)."""

from dataclasses import replace

from depthbench.networks.families.common import SIX_N_PLUS_4, describe
from depthbench.networks.family import DepthList, DepthRule
from depthbench.networks.options import Architecture

DENSENET_OPTIONS = Architecture(
    "densenet",
    frozenset({"growth", "norm", "init", "activation", "dropout"}),
    {"growth": 12, "order": "full_pre"},
)
DENSENET_BC_OPTIONS = replace(DENSENET_OPTIONS, name="densenet_bc")
DENSENET_IMAGENET_OPTIONS = Architecture(
    "densenet_imagenet",
    DENSENET_OPTIONS.takes | {"stem"},
    {"growth": 32, "order": "full_pre", "stem": "imagenet"},
    values_at={161: {"growth": 48}},  # as in the first versions of the paper, and in torchvision
)

THREE_N_PLUS_4 = DepthRule(3, 4)
DENSENET_BLOCKS = {  # depth -> layers of each block (Huang et al. 2017, Table 1; 161 in its first versions)
    121: (6, 12, 24, 16),
    161: (6, 12, 36, 24),
    169: (6, 12, 32, 32),
    201: (6, 12, 48, 32),
    264: (6, 12, 64, 48),
}
DENSENET_DEPTHS = DepthList(tuple(DENSENET_BLOCKS))

MATCHED = (
    "nothing: each layer is given all earlier maps of its block, so that no chain of layers has these "
    "shapes. Compare errors at equal parameters or multiply-adds"
)

DENSENET = describe(
    "densenet:DenseNet",
    "densely connected CIFAR network (Huang et al. 2017, sec. 3)",
    DENSENET_OPTIONS,
    THREE_N_PLUS_4,
    options={"bottleneck": False},
    matched=MATCHED,
)
DENSENET_BC = describe(
    "densenet:DenseNet",
    "densely connected CIFAR network, bottlenecks and compression (Huang et al. 2017, sec. 3)",
    DENSENET_BC_OPTIONS,
    SIX_N_PLUS_4,
    options={"bottleneck": True},
    matched=MATCHED,
)
DENSENET_IMAGENET = describe(
    "densenet:ImageNetDenseNet",
    "densely connected ImageNet network, bottlenecks and compression (Huang et al. 2017, Table 1)",
    DENSENET_IMAGENET_OPTIONS,
    DENSENET_DEPTHS,
    options={"bottleneck": True},
    matched=MATCHED,
)
