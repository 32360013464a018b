"""Highway networks, convolutional and fully connected (Srivastava et al. 2015)."""

from dataclasses import replace

from depthbench.networks.families.common import SIX_N_PLUS_2, describe
from depthbench.networks.family import DepthRule
from depthbench.networks.options import Architecture

HIGHWAY_OPTIONS = Architecture(
    "highway",
    frozenset({"width", "init", "activation", "transform_bias"}),
    {"width": 16, "norm": "none", "transform_bias": -2.0, "order": "original"},
)
HIGHWAY_MLP_OPTIONS = replace(
    HIGHWAY_OPTIONS, name="highway_mlp", values={**HIGHWAY_OPTIONS.values, "width": 50}
)
N_PLUS_2 = DepthRule(1, 2)

HIGHWAY = describe(
    "highway:Highway",
    "residual CIFAR network of highway layers without norm (Srivastava et al. 2015, sec. 2)",
    HIGHWAY_OPTIONS,
    SIX_N_PLUS_2,
    options={"residual": True},
    fuses=False,
    matched="plain with norm = none, which has the same layers and initial weights without the gates. A gate "
    "has as many parameters as its layer",
)
HIGHWAY_MLP = describe(
    "highway:HighwayMlp",
    "residual fully connected network of highway layers (Srivastava et al. 2015, sec. 3)",
    HIGHWAY_MLP_OPTIONS,
    N_PLUS_2,
    options={"residual": True},
    flattens=True,
    fuses=False,
    matched="plain_mlp with norm = none, which has the same layers without the gates. With width = 71 it has "
    "about as many parameters as this network with width = 50, as in the paper",
)
