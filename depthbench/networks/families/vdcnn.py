"""Very deep convolutional networks for text, with and without shortcuts (Conneau et al. 2017)."""

from depthbench.networks.family import DepthList
from depthbench.networks.options import Architecture

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
        f"sequences of {length} tokens vanish when they are halved three times; set data.length to 8 or more"
    )
