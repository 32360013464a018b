"""GoogLeNet, for small images and for ImageNet (Szegedy et al. 2015)."""

from dataclasses import replace

from depthbench.networks.families.common import describe
from depthbench.networks.families.vgg import VGG_OPTIONS
from depthbench.networks.family import DepthList

GOOGLENET_OPTIONS = replace(VGG_OPTIONS, name="googlenet")
GOOGLENET_IMAGENET_OPTIONS = replace(VGG_OPTIONS, name="googlenet_imagenet")
GOOGLENET_DEPTHS = DepthList((22,))

GOOGLENET = describe(
    "googlenet:GoogLeNet",
    "plain network of inception modules (Szegedy et al. 2015, Table 1)",
    GOOGLENET_OPTIONS,
    GOOGLENET_DEPTHS,
    options={"residual": False},
    matched="nothing: its modules have parallel branches. Compare errors at equal parameters or "
    "multiply-adds",
)
GOOGLENET_IMAGENET = replace(
    GOOGLENET,
    target="depthbench.networks.googlenet:ImageNetGoogLeNet",
    about="plain ImageNet network of inception modules (Szegedy et al. 2015, Table 1)",
    smallest_side=15,
)
