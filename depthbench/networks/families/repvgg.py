"""RepVGG with the stages of CIFAR networks (Ding et al. 2021)."""

from depthbench.networks.families.common import SIX_N_PLUS_2, describe
from depthbench.networks.options import Architecture

REPVGG_OPTIONS = Architecture(
    "repvgg", frozenset({"width", "init", "activation"}), {"width": 16, "order": "original"}
)

REPVGG = describe(
    "repvgg:RepVGG",
    "plain CIFAR network after folding, parallel branches in training (Ding et al. 2021)",
    REPVGG_OPTIONS,
    SIX_N_PLUS_2,
    matched="plain has the same initial weights in its 3x3 convolutions; 1x1 convolutions and norms add "
    "parameters until they are folded",
)
