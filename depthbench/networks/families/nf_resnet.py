"""Residual networks with standardised weights in place of norms (Brock et al. 2021)."""

from depthbench.networks.families.common import SIX_N_PLUS_2, WITHOUT_NORM, describe
from depthbench.networks.options import Architecture

NF_RESNET_OPTIONS = Architecture(
    "nf_resnet", WITHOUT_NORM | {"init"}, {"width": 16, "order": "full_pre", "norm": "none"}
)

NF_RESNET = describe(
    "nf_resnet:NormalizerFreeNet",
    "residual CIFAR network without normalisation, standardised weights (Brock et al. 2021)",
    NF_RESNET_OPTIONS,
    SIX_N_PLUS_2,
    options={"residual": True},
    matched="preplain and preresnet with norm = none have the same initial weights before standardisation; "
    "their shortcuts have no projection",
)
