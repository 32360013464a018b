"""Residual networks with squeeze-and-excitation (Hu et al. 2018)."""

from depthbench.networks.families.cifar import CIFAR_OPTIONS, cifar_structure
from depthbench.networks.families.common import SIX_N_PLUS_2, describe
from depthbench.networks.options import Architecture

SE_OPTIONS = Architecture(
    "se_resnet",
    CIFAR_OPTIONS.takes - {"bottleneck_stride"} | {"reduction"},
    {**CIFAR_OPTIONS.values, "reduction": 16},
)

SE_RESNET = describe(
    "se_resnet:SEResNet",
    "residual CIFAR network with a gate of each channel (Hu et al. 2018, sec. 3)",
    SE_OPTIONS,
    SIX_N_PLUS_2,
    options={"residual": True},
    matched="resnet, which has the same layers and initial weights without the gates",
    structure=cifar_structure(),
)
