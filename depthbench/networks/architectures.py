"""Descriptions of the architectures behind the built-in families. Nothing here imports torch.

Each function describes one family of its architecture. NETWORKS lists the families."""

from dataclasses import replace
from typing import Any

from depthbench.networks.family import DepthList, DepthRule, Family, MemoryBound, Protocol, Structure
from depthbench.networks.options import Architecture

COMMON = frozenset(
    {
        "width",
        "norm",
        "init",
        "activation",
        "tat_eta",
        "dropout",
        "branch_scale",
        "learned_scale",
        "survival",
        "survival_rule",
    }
)
MLP = Architecture("mlp", COMMON, {"width": 256, "order": "full_pre"})
IMAGENET = Architecture(
    "imagenet",
    COMMON | {"shortcut", "bottleneck_stride", "stem"},
    {"width": 64, "order": "original", "stem": "imagenet"},
)
CIFAR = Architecture(
    "cifar",
    IMAGENET.takes - {"stem"} | {"order", "shortcut_scale", "gate", "gate_bias", "shortcut_dropout"},
    {"width": 16, "order": "original"},
)
UNNORMALISED = frozenset({"width", "activation", "dropout", "survival", "survival_rule"})
FIXUP = Architecture("fixup", UNNORMALISED, {"width": 16, "order": "original", "norm": "none"})
NF_RESNET = Architecture(
    "nf_resnet", UNNORMALISED | {"init"}, {"width": 16, "order": "full_pre", "norm": "none"}
)
DIRACNET = Architecture(
    "diracnet",
    frozenset({"width", "norm", "init", "activation", "tat_eta", "dropout"}),
    {"width": 16, "order": "original"},
)
REPVGG = Architecture(
    "repvgg", frozenset({"width", "init", "activation"}), {"width": 16, "order": "original"}
)

WIDE = Architecture(
    "wide_resnet",
    CIFAR.takes - {"order", "shortcut", "bottleneck_stride"} | {"widen"},
    {"width": 16, "widen": 10, "order": "full_pre", "shortcut": "B"},
)
RESNEXT = Architecture(
    "resnext",
    CIFAR.takes - {"bottleneck_stride"} | {"cardinality", "base_width"},
    {
        "width": 64,
        "cardinality": 8,
        "base_width": 64,
        "order": "original",
        "shortcut": "B",
        "bottleneck_stride": "3x3",
    },
)
WIDE_IMAGENET = Architecture(
    "wide_resnet_imagenet",
    IMAGENET.takes - {"bottleneck_stride"} | {"widen"},
    {**IMAGENET.values, "widen": 2, "bottleneck_stride": "3x3"},
)
RESNEXT_IMAGENET = Architecture(
    "resnext_imagenet",
    IMAGENET.takes - {"bottleneck_stride"} | {"cardinality", "base_width"},
    {**IMAGENET.values, "cardinality": 32, "base_width": 4, "bottleneck_stride": "3x3"},
)
SE = Architecture(
    "se_resnet", CIFAR.takes - {"bottleneck_stride"} | {"reduction"}, {**CIFAR.values, "reduction": 16}
)
DENSENET = Architecture(
    "densenet",
    frozenset({"growth", "norm", "init", "activation", "dropout"}),
    {"growth": 12, "order": "full_pre"},
)
DENSENET_BC = replace(DENSENET, name="densenet_bc")
DENSENET_IMAGENET = Architecture(
    "densenet_imagenet",
    DENSENET.takes | {"stem"},
    {"growth": 32, "order": "full_pre", "stem": "imagenet"},
)
HIGHWAY = Architecture(
    "highway",
    frozenset({"width", "init", "activation", "transform_bias"}),
    {"width": 16, "norm": "none", "transform_bias": -2.0, "order": "original"},
)
HIGHWAY_MLP = replace(HIGHWAY, name="highway_mlp", values={**HIGHWAY.values, "width": 50})
FRACTAL = Architecture(
    "fractalnet",
    frozenset({"width", "norm", "init", "activation", "drop_path"}),
    {"width": 64, "drop_path": 0.15, "order": "original"},
)

VGG = Architecture(
    "vgg",
    frozenset({"width", "norm", "init", "activation", "dropout"}),
    {"width": 64, "order": "original"},
)
VGG_IMAGENET = replace(VGG, name="vgg_imagenet")
GOOGLENET = replace(VGG, name="googlenet")
GOOGLENET_IMAGENET = replace(VGG, name="googlenet_imagenet")
TUTORIAL = Architecture(
    "tutorial_cnn",
    COMMON - {"norm"} | {"shortcut"},
    {"width": 32, "norm": "none", "order": "original"},
)

FRACTAL_BLOCKS = 5  # Larsson et al. 2017, sec. 4: 20 layers have 3 columns, 40 layers 4 columns
FRACTAL_DEPTHS = DepthList(tuple(FRACTAL_BLOCKS * 2**columns for columns in range(6)))
N_PLUS_2 = DepthRule(1, 2)
SIX_N_PLUS_3 = DepthRule(6, 3)
THREE_N_PLUS_4, SIX_N_PLUS_4 = DepthRule(3, 4), DepthRule(6, 4)
SIX_N_PLUS_2, NINE_N_PLUS_2, TWO_N_PLUS_2 = DepthRule(6, 2), DepthRule(9, 2), DepthRule(2, 2)

IMAGENET_BLOCKS = {  # depth -> number of blocks of each stage (He et al. 2015, Table 1)
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
IMAGENET_DEPTHS = DepthList(tuple(IMAGENET_BLOCKS))
IMAGENET_BOTTLENECKS_FROM = 50  # layers
BOTTLENECK_DEPTHS = DepthList((50, 101))  # Xie et al. 2017, Table 3
DENSENET_BLOCKS = {  # depth -> layers of each block (Huang et al. 2017, Table 1; 161 in its first versions)
    121: (6, 12, 24, 16),
    161: (6, 12, 36, 24),
    169: (6, 12, 32, 32),
    201: (6, 12, 48, 32),
    264: (6, 12, 64, 48),
}
DENSENET_DEPTHS = DepthList(tuple(DENSENET_BLOCKS))
VGG_CONVOLUTIONS = {  # depth -> convolutions of each stage (Simonyan & Zisserman 2015, Table 1)
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
VGG_DEPTHS = DepthList(tuple(VGG_CONVOLUTIONS), goes_on=True)
GOOGLENET_DEPTHS = DepthList((22,))

HE2015_CIFAR_STEPS = 64_000  # He et al. 2015, sec. 4.2
HE2015_CIFAR = Protocol({"steps": HE2015_CIFAR_STEPS, "flip": True}, image_size=32)
HE2016_CIFAR = Protocol(  # He et al. 2016, appendix: 400 steps at a low rate, at every depth
    {"steps": HE2015_CIFAR_STEPS, "flip": True, "hold_steps": 400, "hold_from_depth": 1}, image_size=32
)
HE2015_IMAGENET = Protocol(  # He et al. 2015, sec. 3.4
    {
        "steps": 600_000,
        "batch_size": 256,
        "schedule": "plateau",
        "warmup": "none",
        "augmentation": "scale",
        "colour": True,
        "flip": True,
    },
    image_size=224,
    unstated=frozenset({"plateau_patience"}),
)


def _cifar_bytes(depth: int, width: int, batch_size: int, shape: tuple[int, int, int]) -> float:
    """Return an upper bound on the memory (bytes) of training a CIFAR network of basic blocks.

    It counts every layer as if it had full-size maps and the parameters of the widest layer. A layer keeps
    the inputs of its normalisation, its nonlinearity and its dropout, and the mask of dropout."""
    _, height, columns = shape
    maps = 4 * depth + 20
    activations = 1.2 * 4 * maps * batch_size * height * columns * width
    parameters = 5 * 4 * depth * 10 * (4 * width) ** 2
    return activations + parameters


CIFAR_BOUND = MemoryBound(
    frozenset(
        {
            "width",
            "shortcut",
            "norm",
            "init",
            "activation",
            "dropout",
            "branch_scale",
            "gate_bias",
            "bottleneck_stride",
        }
    ),
    _cifar_bytes,
)


def cifar_depths(*, bottleneck: bool) -> DepthRule:
    """Return the depths of a CIFAR network of basic blocks or of bottlenecks."""
    return NINE_N_PLUS_2 if bottleneck else SIX_N_PLUS_2


def cifar(
    about: str, twin: str, *, residual: bool, bottleneck: bool = False, order: str = "original"
) -> Family:
    """Describe a CIFAR family: 3x3 convolutions on 3 stages of maps (He et al. 2015, sec. 4.2)."""
    is_bounded = not bottleneck and order == "original"
    return Family(
        "depthbench.networks.cifar:CifarNet",
        about,
        {"residual": residual, "bottleneck": bottleneck, "order": order},
        cifar_depths(bottleneck=bottleneck),
        twin,
        CIFAR.takes,
        unset=CIFAR.values,
        structure=Structure(
            {"1": 0, "2": 1, "3": 2}, layers_per_block=3 if bottleneck else 2, has_one_width=not bottleneck
        ),
        protocols={"he2015-cifar": HE2015_CIFAR, "he2016-cifar": HE2016_CIFAR},
        memory=CIFAR_BOUND if is_bounded else None,
    )


def scaled_branches(about: str, matched: str, **options: Any) -> Family:
    """Describe a residual CIFAR family whose branches have a learned factor.

    An option whose default is not that of all networks cannot be set back, so that it is fixed: `norm`."""
    return Family(
        "depthbench.networks.cifar:CifarNet",
        about,
        {"residual": True, **options},
        SIX_N_PLUS_2,
        None,
        CIFAR.takes - ({"norm"} & options.keys()),
        unset=CIFAR.values,
        matched=matched,
    )


def of_cifar(target: str, about: str, architecture: Architecture, *, residual: bool, matched: str) -> Family:
    """Describe a family with the stages of CIFAR networks and its own blocks."""
    return Family(
        f"depthbench.networks.{architecture.name}:{target}",
        about,
        {"residual": residual},
        SIX_N_PLUS_2,
        None,
        architecture.takes,
        unset=architecture.values,
        matched=matched,
        zero_classifier=architecture is FIXUP,
    )


def repvgg(about: str, matched: str) -> Family:
    """Describe RepVGG with the stages of CIFAR networks (Ding et al. 2021)."""
    return Family(
        "depthbench.networks.repvgg:RepVGG",
        about,
        depths=SIX_N_PLUS_2,
        takes=REPVGG.takes,
        unset=REPVGG.values,
        matched=matched,
    )


def imagenet(about: str, twin: str, *, residual: bool) -> Family:
    """Describe an ImageNet family: 4 stages, with bottlenecks from 50 layers on (He et al. 2015, Table 1)."""
    return Family(
        "depthbench.networks.imagenet:ImageNetNet",
        about,
        {"residual": residual},
        IMAGENET_DEPTHS,
        twin,
        IMAGENET.takes,
        unset=IMAGENET.values,
        bottlenecks_from=IMAGENET_BOTTLENECKS_FROM,
        protocols={"he2015-imagenet": HE2015_IMAGENET},
    )


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


def mlp(about: str, twin: str, *, residual: bool) -> Family:
    """Describe a fully connected family in the order of He et al. 2016, sec. 4."""
    return Family(
        "depthbench.networks.mlp:Mlp",
        about,
        {"residual": residual},
        TWO_N_PLUS_2,
        twin,
        MLP.takes,
        flattens=True,
        fuses=False,
        unset=MLP.values,
        structure=Structure({"1": 0}, layers_per_block=2, is_fully_connected=True),
    )


def wide_resnet() -> Family:
    """Describe wide residual networks (Zagoruyko & Komodakis 2016)."""
    return Family(
        "depthbench.networks.wide_resnet:WideResNet",
        "residual CIFAR network with k times as many filters (Zagoruyko & Komodakis 2016)",
        {"residual": True},
        SIX_N_PLUS_4,
        takes=WIDE.takes,
        unset=WIDE.values,
        matched=(
            "preresnet of 2 layers less and k times the width has the same blocks. Its first convolution is "
            "k times as wide, and its shortcuts have no projections, which the depth of wide_resnet counts"
        ),
        depth_counts="convolutions with three projections, without the classifier",
    )


def resnext() -> Family:
    """Describe residual networks of grouped bottlenecks (Xie et al. 2017)."""
    return Family(
        "depthbench.networks.resnext:ResNeXt",
        "residual CIFAR network, grouped bottlenecks (Xie et al. 2017, sec. 5.2)",
        {"residual": True, "bottleneck": True},
        NINE_N_PLUS_2,
        takes=RESNEXT.takes,
        unset=RESNEXT.values,
        matched=(
            "resnet_bottleneck has the same shape. No width of it has exactly as many parameters, because "
            "the 3x3 convolutions here have groups"
        ),
    )


def wide_resnet_imagenet() -> Family:
    """Describe wide residual networks for ImageNet (Zagoruyko & Komodakis 2016)."""
    return Family(
        "depthbench.networks.wide_resnet:WideImageNetResNet",
        "residual ImageNet network with wide bottlenecks (Zagoruyko & Komodakis 2016, sec. 3)",
        {"residual": True},
        BOTTLENECK_DEPTHS,
        takes=WIDE_IMAGENET.takes,
        unset=WIDE_IMAGENET.values,
        bottlenecks_from=IMAGENET_BOTTLENECKS_FROM,
        matched=(
            "resnet_imagenet with bottleneck_stride = 3x3, which has the same blocks with 1/k of the filters "
            "inside. No width of it has as many parameters"
        ),
    )


def resnext_imagenet() -> Family:
    """Describe residual networks of grouped bottlenecks for ImageNet (Xie et al. 2017)."""
    return Family(
        "depthbench.networks.resnext:ResNeXtImageNet",
        "residual ImageNet network, grouped bottlenecks (Xie et al. 2017, Table 1)",
        {"residual": True},
        BOTTLENECK_DEPTHS,
        takes=RESNEXT_IMAGENET.takes,
        unset=RESNEXT_IMAGENET.values,
        bottlenecks_from=IMAGENET_BOTTLENECKS_FROM,
        matched=(
            "resnet_imagenet with bottleneck_stride = 3x3, which has 2 % more parameters at depth 50. The "
            "3x3 convolutions here have groups, so that no weights can be shared"
        ),
    )


def se_resnet() -> Family:
    """Describe residual networks with squeeze-and-excitation (Hu et al. 2018)."""
    return Family(
        "depthbench.networks.se_resnet:SEResNet",
        "residual CIFAR network with a gate of each channel (Hu et al. 2018, sec. 3)",
        {"residual": True},
        SIX_N_PLUS_2,
        takes=SE.takes,
        unset=SE.values,
        matched="resnet, which has the same layers and initial weights without the gates",
    )


def densenet(about: str, *, bottleneck: bool = False) -> Family:
    """Describe densely connected networks for CIFAR (Huang et al. 2017)."""
    architecture = DENSENET_BC if bottleneck else DENSENET
    return Family(
        "depthbench.networks.densenet:DenseNet",
        about,
        {"bottleneck": bottleneck},
        SIX_N_PLUS_4 if bottleneck else THREE_N_PLUS_4,
        takes=architecture.takes,
        unset=architecture.values,
        matched=(
            "nothing: each layer is given all earlier maps of its block, so that no chain of layers has "
            "these shapes. Compare errors at equal parameters or multiply-adds"
        ),
    )


def densenet_imagenet() -> Family:
    """Describe densely connected networks for ImageNet (Huang et al. 2017)."""
    return Family(
        "depthbench.networks.densenet:ImageNetDenseNet",
        "densely connected ImageNet network, bottlenecks and compression (Huang et al. 2017, Table 1)",
        {"bottleneck": True},
        DENSENET_DEPTHS,
        takes=DENSENET_IMAGENET.takes,
        unset=DENSENET_IMAGENET.values,
        matched=(
            "nothing: each layer is given all earlier maps of its block, so that no chain of layers has "
            "these shapes. Compare errors at equal parameters or multiply-adds"
        ),
    )


def highway() -> Family:
    """Describe convolutional highway networks (Srivastava et al. 2015)."""
    return Family(
        "depthbench.networks.highway:Highway",
        "residual CIFAR network of highway layers without norm (Srivastava et al. 2015, sec. 2)",
        {"residual": True},
        SIX_N_PLUS_2,
        takes=HIGHWAY.takes,
        fuses=False,
        unset=HIGHWAY.values,
        matched=(
            "plain with norm = none, which has the same layers and initial weights without the gates. A gate "
            "has as many parameters as its layer"
        ),
    )


def highway_mlp() -> Family:
    """Describe fully connected highway networks (Srivastava et al. 2015)."""
    return Family(
        "depthbench.networks.highway:HighwayMlp",
        "residual fully connected network of highway layers (Srivastava et al. 2015, sec. 3)",
        {"residual": True},
        N_PLUS_2,
        takes=HIGHWAY_MLP.takes,
        flattens=True,
        fuses=False,
        unset=HIGHWAY_MLP.values,
        matched=(
            "plain_mlp with norm = none, which has the same layers without the gates. With width = 71 it has "
            "about as many parameters as this network with width = 50, as in the paper"
        ),
    )


def vgg() -> Family:
    """Describe VGG networks for small images (Simonyan & Zisserman 2015)."""
    return Family(
        "depthbench.networks.vgg:Vgg",
        "plain network of 3x3 convolutions and max pooling (Simonyan & Zisserman 2015)",
        {"residual": False},
        VGG_DEPTHS,
        takes=VGG.takes,
        unset=VGG.values,
        matched=(
            "nothing: plain halves the map with strides and not by pooling, and has other widths. Compare "
            "errors at equal parameters or multiply-adds"
        ),
        depth_counts="the paper's three fully connected layers, in place of which there is one classifier",
    )


def vgg_imagenet() -> Family:
    """Describe VGG networks for ImageNet (Simonyan & Zisserman 2015)."""
    return Family(
        "depthbench.networks.vgg:ImageNetVgg",
        "plain ImageNet network of 3x3 convolutions and max pooling (Simonyan & Zisserman 2015)",
        {"residual": False},
        VGG_DEPTHS,
        takes=VGG_IMAGENET.takes,
        unset=VGG_IMAGENET.values,
        matched=(
            "nothing: most of its parameters are in the fully connected layers, which later networks lack. "
            "Compare errors at equal parameters or multiply-adds"
        ),
        smallest_side=32,
    )


def googlenet() -> Family:
    """Describe GoogLeNet for small images (Szegedy et al. 2015)."""
    return Family(
        "depthbench.networks.googlenet:GoogLeNet",
        "plain network of inception modules (Szegedy et al. 2015, Table 1)",
        {"residual": False},
        GOOGLENET_DEPTHS,
        takes=GOOGLENET.takes,
        unset=GOOGLENET.values,
        matched=(
            "nothing: its modules have parallel branches. Compare errors at equal parameters or multiply-adds"
        ),
    )


def googlenet_imagenet() -> Family:
    """Describe GoogLeNet for ImageNet (Szegedy et al. 2015)."""
    small = googlenet()
    return replace(
        small,
        target="depthbench.networks.googlenet:ImageNetGoogLeNet",
        about="plain ImageNet network of inception modules (Szegedy et al. 2015, Table 1)",
        takes=GOOGLENET_IMAGENET.takes,
        unset=GOOGLENET_IMAGENET.values,
        smallest_side=15,
    )


def tutorial_cnn(about: str, twin: str, *, residual: bool) -> Family:
    """Describe the network of CIFAR tutorials, or the same network with shortcuts."""
    return Family(
        "depthbench.networks.tutorial_cnn:TutorialCnn",
        about,
        {"residual": residual},
        SIX_N_PLUS_3,
        twin,
        TUTORIAL.takes,
        fuses=False,
        unset=TUTORIAL.values,
    )


def fractalnet() -> Family:
    """Describe fractal networks (Larsson et al. 2017)."""
    return Family(
        "depthbench.networks.fractalnet:FractalNet",
        "fractal CIFAR network without shortcuts (Larsson et al. 2017, sec. 4)",
        {},
        FRACTAL_DEPTHS,
        takes=FRACTAL.takes,
        unset=FRACTAL.values,
        matched=(
            "its deepest column, which alone is a plain network of the same depth. The other columns have "
            "about as many parameters again"
        ),
        depth_counts="convolutions of the deepest column, without the classifier",
    )
