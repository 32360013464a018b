"""The network of CIFAR tutorials, and the same network with shortcuts."""

from dataclasses import replace

from depthbench.networks.families.common import OPTIONS, describe
from depthbench.networks.family import DepthRule, Structure
from depthbench.networks.options import Architecture

TUTORIAL_OPTIONS = Architecture(
    "tutorial_cnn",
    OPTIONS - {"norm"} | {"shortcut"},
    {"width": 32, "norm": "none", "order": "original"},
)
SIX_N_PLUS_3 = DepthRule(6, 3)

TUTORIAL_CNN = describe(
    "tutorial_cnn:TutorialCnn",
    "plain network of CIFAR tutorials, without norm (Extends the example of Keras, 2015)",
    TUTORIAL_OPTIONS,
    SIX_N_PLUS_3,
    options={"residual": False},
    twin="tutorial_cnn_residual",
    fuses=False,
    structure=Structure({"1": 0, "2": 1, "3": 2}, layers_per_block=2, other_layers=3, pools=True),
)
TUTORIAL_CNN_RESIDUAL = replace(
    TUTORIAL_CNN,
    about="residual form of the network of CIFAR tutorials (Extends the example of Keras, 2015)",
    options={"residual": True},
    twin="tutorial_cnn",
)
