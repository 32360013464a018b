"""Plain networks whose convolutions contain the identity (Zagoruyko & Komodakis 2017)."""

from depthbench.networks.families.common import SIX_N_PLUS_2, describe
from depthbench.networks.options import Architecture

DIRACNET_OPTIONS = Architecture(
    "diracnet",
    frozenset({"width", "norm", "init", "activation", "tat_eta", "dropout"}),
    {"width": 16, "order": "original"},
)

DIRACNET = describe(
    "diracnet:DiracNet",
    "plain CIFAR network, convolutions that contain the identity (Zagoruyko & Komodakis 2017)",
    DIRACNET_OPTIONS,
    SIX_N_PLUS_2,
    options={"residual": False},
    matched="plain has the same initial weights; here they are normalised and added to the identity",
)
