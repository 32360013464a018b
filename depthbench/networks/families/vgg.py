"""VGG networks, for small images and for ImageNet (Simonyan & Zisserman 2015)."""

from dataclasses import replace

from depthbench.networks.families.common import describe
from depthbench.networks.family import DepthList, Structure
from depthbench.networks.options import Architecture

VGG_OPTIONS = Architecture(
    "vgg",
    frozenset({"width", "norm", "init", "activation", "dropout"}),
    {"width": 64, "order": "original"},
)
VGG_IMAGENET_OPTIONS = replace(VGG_OPTIONS, name="vgg_imagenet")

VGG_CONVOLUTIONS = {  # depth -> convolutions of each stage (Simonyan & Zisserman 2015, Table 1)
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
VGG_DEPTHS = DepthList(tuple(VGG_CONVOLUTIONS), goes_on=True)
STRUCTURE = Structure({str(s + 1): s for s in range(5)}, layers_per_block=1, other_layers=3, pools=True)


def vgg_convolutions(depth: int) -> tuple[int, ...]:
    """Return the number of 3x3 convolutions of each stage of a VGG network.

    Networks deeper than those of the paper repeat one more 3x3 convolution at a time: in stage 5, 4, 3, 2, 1,
    5 and so on. Depth 22 has (2, 2, 5, 5, 5), the paper's next step, and depth 24 has one more than depth 19
    in each stage. Raises BadInput for another depth."""
    VGG_DEPTHS.n(depth)
    deepest = max(VGG_CONVOLUTIONS)
    counts = list(VGG_CONVOLUTIONS[min(depth, deepest)])
    for k in range(depth - deepest):
        counts[-1 - k % len(counts)] += 1
    return tuple(counts)


VGG = describe(
    "vgg:Vgg",
    "plain network of 3x3 convolutions and max pooling (Simonyan & Zisserman 2015)",
    VGG_OPTIONS,
    VGG_DEPTHS,
    options={"residual": False},
    matched="nothing: plain halves the map with strides and not by pooling, and has other widths. Compare "
    "errors at equal parameters or multiply-adds",
    depth_counts="the paper's three fully connected layers, in place of which there is one classifier",
    structure=STRUCTURE,
)
VGG_IMAGENET = describe(
    "vgg:ImageNetVgg",
    "plain ImageNet network of 3x3 convolutions and max pooling (Simonyan & Zisserman 2015)",
    VGG_IMAGENET_OPTIONS,
    VGG_DEPTHS,
    options={"residual": False},
    matched="nothing: most of its parameters are in the fully connected layers, which later networks lack. "
    "Compare errors at equal parameters or multiply-adds",
    smallest_side=32,
    structure=STRUCTURE,
)
