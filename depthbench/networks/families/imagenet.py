"""ImageNet networks: 4 stages, with bottlenecks from 50 layers on (He et al. 2015, Table 1)."""

from dataclasses import replace

from depthbench.networks.families.common import OPTIONS, describe
from depthbench.networks.family import DepthList, Protocol
from depthbench.networks.options import Architecture

IMAGENET_OPTIONS = Architecture(
    "imagenet",
    OPTIONS | {"shortcut", "bottleneck_stride", "stem"},
    {"width": 64, "order": "original", "stem": "imagenet"},
)

IMAGENET_BLOCKS = {  # depth -> number of blocks of each stage (He et al. 2015, Table 1)
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
IMAGENET_DEPTHS = DepthList(tuple(IMAGENET_BLOCKS))
IMAGENET_BOTTLENECKS_FROM = 50  # layers
BOTTLENECK_DEPTHS = DepthList((50, 101))  # Xie et al. 2017, Table 3

HE2015_IMAGENET = Protocol(  # He et al. 2015, sec. 3.4
    {
        "steps": 600_000,
        "batch_size": 256,
        "schedule": "plateau",
        "warmup": "none",
        "augmentation": "scale",
        "colour": True,
        "flip": True,
    },
    image_size=224,
    unstated=frozenset({"plateau_patience"}),
)

PLAIN_IMAGENET = describe(
    "imagenet:ImageNetNet",
    "plain ImageNet network (He et al. 2015, Table 1)",
    IMAGENET_OPTIONS,
    IMAGENET_DEPTHS,
    options={"residual": False},
    twin="resnet_imagenet",
    bottlenecks_from=IMAGENET_BOTTLENECKS_FROM,
    protocols={"he2015-imagenet": HE2015_IMAGENET},
)
RESNET_IMAGENET = replace(
    PLAIN_IMAGENET,
    about="residual ImageNet network (He et al. 2015, Table 1)",
    options={"residual": True},
    twin="plain_imagenet",
)
