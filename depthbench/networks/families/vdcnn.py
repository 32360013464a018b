"""Very deep convolutional networks for text, with and without shortcuts (Conneau et al. 2017)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from depthbench.networks.families.common import describe
from depthbench.networks.family import DepthList
from depthbench.networks.options import Architecture
from depthbench.networks.task import TOKENS

VDCNN_OPTIONS = Architecture(
    "vdcnn",
    frozenset({"width", "norm", "init", "activation", "branch_scale", "depth_alpha", "base_blocks"}),
    {"width": 64},
)

VDCNN_BLOCKS = {  # depth -> blocks of each stage (Conneau et al. 2017, Table 2)
    9: (1, 1, 1, 1),
    17: (2, 2, 2, 2),
    29: (5, 5, 2, 2),
    49: (8, 8, 5, 3),
}
VDCNN_DEPTHS = DepthList(tuple(VDCNN_BLOCKS))


def vdcnn_blocks(depth: int) -> tuple[int, ...]:
    """Return the number of blocks of each stage. Raises BadInput for a depth that the paper lacks."""
    VDCNN_DEPTHS.n(depth)
    return VDCNN_BLOCKS[depth]


def problem_of_length(length: int) -> str:
    """Return why sequences of this length are too short, or an empty text."""
    if length >= 2**3:
        return ""
    return (
        f"the network halves sequences three times, so that {length} tokens are too few; use 8 or more "
        "(data.length, or data.symbols of hops)"
    )


def problem_of(options: Mapping[str, Any], shape: tuple[int, ...]) -> str:
    """Return why a network with these options cannot train on sequences (T,), or an empty text."""
    return problem_of_length(shape[0])


VDCNN = describe(
    "vdcnn:Vdcnn",
    "residual convolutional network that classifies text (Conneau et al. 2017)",
    VDCNN_OPTIONS,
    VDCNN_DEPTHS,
    options={"residual": True},
    twin="plain_vdcnn",
    fuses=False,
    depth_counts="the convolutions, as in the paper. Three fully connected layers follow them",
    problem_of=problem_of,
    reads=frozenset({TOKENS}),
)
PLAIN_VDCNN = replace(
    VDCNN,
    about="plain convolutional network that classifies text, without shortcuts (Conneau et al. 2017)",
    options={"residual": False},
    twin="vdcnn",
)
