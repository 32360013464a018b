"""Fully connected networks, in the order of He et al. 2016, sec. 4."""

from dataclasses import replace

from depthbench.networks.families.common import OPTIONS, describe
from depthbench.networks.family import DepthRule, Structure
from depthbench.networks.options import Architecture

MLP_OPTIONS = Architecture("mlp", OPTIONS, {"width": 256, "order": "full_pre"})
TWO_N_PLUS_2 = DepthRule(2, 2)

PLAIN_MLP = describe(
    "mlp:Mlp",
    "plain fully connected network, pre-activation (He et al. 2016, sec. 4)",
    MLP_OPTIONS,
    TWO_N_PLUS_2,
    options={"residual": False},
    twin="resnet_mlp",
    flattens=True,
    fuses=False,
    structure=Structure({"1": 0}, layers_per_block=2, is_fully_connected=True),
)
RESNET_MLP = replace(
    PLAIN_MLP,
    about="residual fully connected network, pre-activation (He et al. 2016, sec. 4)",
    options={"residual": True},
    twin="plain_mlp",
)
