"""CIFAR networks: 3x3 convolutions on 3 stages of maps (He et al. 2015, sec. 4.2), and their relatives."""

from dataclasses import replace
from typing import Any

from depthbench.networks.families.common import NINE_N_PLUS_2, OPTIONS, SIX_N_PLUS_2, describe
from depthbench.networks.family import DepthRule, Family, MemoryBound, Protocol, Structure
from depthbench.networks.options import Architecture

CIFAR_OPTIONS = Architecture(
    "cifar",
    OPTIONS
    | {"shortcut", "bottleneck_stride", "order", "shortcut_scale", "gate", "gate_bias", "shortcut_dropout"},
    {"width": 16, "order": "original"},
)

HE2015_CIFAR_STEPS = 64_000  # He et al. 2015, sec. 4.2
HE2015_CIFAR = Protocol({"steps": HE2015_CIFAR_STEPS, "flip": True}, image_size=32)
HE2016_CIFAR = Protocol(  # He et al. 2016, appendix: 400 steps at a low rate, at every depth
    {"steps": HE2015_CIFAR_STEPS, "flip": True, "hold_steps": 400, "hold_from_depth": 1}, image_size=32
)


def _bytes(depth: int, width: int, batch_size: int, shape: tuple[int, int, int]) -> float:
    """Return an upper bound on the memory (bytes) of training a CIFAR network of basic blocks.

    It counts every layer as if it had full-size maps and the parameters of the widest layer. A layer keeps
    the inputs of its normalisation, its nonlinearity and its dropout, and the mask of dropout."""
    _, height, columns = shape
    maps = 4 * depth + 20
    activations = 1.2 * 4 * maps * batch_size * height * columns * width
    parameters = 5 * 4 * depth * 10 * (4 * width) ** 2
    return activations + parameters


BOUND = MemoryBound(
    frozenset(
        {
            "width",
            "shortcut",
            "norm",
            "init",
            "activation",
            "dropout",
            "branch_scale",
            "depth_alpha",
            "base_blocks",
            "gate_bias",
            "bottleneck_stride",
        }
    ),
    _bytes,
)


def cifar_depths(*, bottleneck: bool) -> DepthRule:
    """Return the depths of a CIFAR network of basic blocks or of bottlenecks."""
    return NINE_N_PLUS_2 if bottleneck else SIX_N_PLUS_2


def cifar_structure(*, bottleneck: bool = False, **known: Any) -> Structure:
    """Return the structure of a network with the stages of a CIFAR network. known: further fields."""
    layers, halvings = 3 if bottleneck else 2, {"1": 0, "2": 1, "3": 2}
    return Structure(halvings, layers_per_block=layers, has_one_width=not bottleneck, **known)


def _twins(
    names: tuple[str, str], form: str, *, bottleneck: bool = False, order: str = "original"
) -> tuple[Family, Family]:
    """Describe a plain and a residual network. names: their keys in NETWORKS. form: the form of blocks."""
    is_bounded = not bottleneck and order == "original"
    plain = describe(
        "cifar:CifarNet",
        f"plain CIFAR network, {form}",
        CIFAR_OPTIONS,
        cifar_depths(bottleneck=bottleneck),
        options={"residual": False, "bottleneck": bottleneck, "order": order},
        twin=names[1],
        structure=cifar_structure(bottleneck=bottleneck),
        protocols={"he2015-cifar": HE2015_CIFAR, "he2016-cifar": HE2016_CIFAR},
        memory=BOUND if is_bounded else None,
    )
    options = {**plain.options, "residual": True}
    return plain, replace(plain, about=f"residual CIFAR network, {form}", options=options, twin=names[0])


PLAIN, RESNET = _twins(("plain", "resnet"), "3x3 convolutions (He et al. 2015, sec. 4.2)")
PLAIN_BOTTLENECK, RESNET_BOTTLENECK = _twins(
    ("plain_bottleneck", "resnet_bottleneck"), "bottlenecks (He et al. 2016, Table 2)", bottleneck=True
)
PREPLAIN, PRERESNET = _twins(
    ("preplain", "preresnet"), "full pre-activation (He et al. 2016, sec. 4)", order="full_pre"
)
PREPLAIN_BOTTLENECK, PRERESNET_BOTTLENECK = _twins(
    ("preplain_bottleneck", "preresnet_bottleneck"),
    "bottlenecks, full pre-activation (He et al. 2016, sec. 4)",
    bottleneck=True,
    order="full_pre",
)

SKIPINIT = describe(
    "cifar:CifarNet",
    "residual CIFAR network without normalisation, branches times a learned 0 (De & Smith 2020)",
    replace(CIFAR_OPTIONS, takes=CIFAR_OPTIONS.takes - {"norm"}),  # its norm is fixed
    SIX_N_PLUS_2,
    options={"residual": True, "order": "full_pre", "norm": "none", "learned_scale": "scalar"},
    matched="preplain and preresnet with norm = none have the same initial weights; it adds one number to "
    "each branch",
    structure=cifar_structure(),
)
REZERO = describe(
    "cifar:CifarNet",
    "residual CIFAR network, branches times a learned 0 (Bachlechner et al. 2020)",
    CIFAR_OPTIONS,
    SIX_N_PLUS_2,
    options={"residual": True, "order": "act_before_addition", "learned_scale": "scalar"},
    matched="plain and resnet have the same initial weights; it adds one number to each branch",
    structure=cifar_structure(),
)
LAYERSCALE = describe(
    "cifar:CifarNet",
    "residual CIFAR network, channels of branches times learned small numbers (Touvron et al. 2021)",
    CIFAR_OPTIONS,
    SIX_N_PLUS_2,
    options={"residual": True, "order": "full_pre", "learned_scale": "channels"},
    matched="preplain and preresnet have the same initial weights; it adds one number to each channel of a "
    "branch",
    structure=cifar_structure(),
)
