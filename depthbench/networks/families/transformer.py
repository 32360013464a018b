"""Transformers on text and on patches of images (Vaswani et al. 2017; Dosovitskiy et al. 2021)."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from depthbench.errors import any_of
from depthbench.networks.families.common import describe
from depthbench.networks.family import DepthRule
from depthbench.networks.options import Architecture
from depthbench.networks.task import IMAGES, NEXT_TOKENS, TOKENS

TRANSFORMER_OPTIONS = Architecture(
    "transformer",
    frozenset(
        {
            "width",
            "placement",
            "token_norm",
            "heads",
            "patch",
            "mlp_ratio",
            "init",
            "activation",
            "dropout",
            "branch_scale",
            "depth_alpha",
            "base_blocks",
            "learned_scale",
            "survival",
            "survival_rule",
        }
    ),
    {
        "width": 64,
        "norm": "layer",
        "placement": "pre",
        "token_norm": "layer",
        "heads": 4,
        "patch": 2,
        "mlp_ratio": 4.0,
    },
)


def problem_of_heads(width: int, heads: int) -> str:
    """Return why attention cannot have this number of heads, or an empty text."""
    if width % heads == 0:
        return ""
    return f"heads = {heads} does not divide width = {width}; use {_nearest_divisors(width, heads)} heads"


def problem_of_patches(height: int, columns: int, patch: int) -> str:
    """Return why images of height x columns pixels have no patches of this side, or an empty text."""
    if height % patch == 0 and columns % patch == 0:
        return ""
    sides = _nearest_divisors(math.gcd(height, columns), patch)
    return (
        f"images of {height}x{columns} pixels cannot be cut into patches of {patch}x{patch}; "
        f"set options.patch to {sides}"
    )


def _nearest_divisors(number: int, value: int) -> str:
    """Return the divisors of `number` just below and above `value`, in words."""
    divisors = [each for each in range(1, number + 1) if number % each == 0]
    below = [each for each in divisors if each < value][-1:]
    above = [each for each in divisors if each > value][:1]
    return any_of(map(str, below + above))


def problem_of(options: Mapping[str, Any], shape: tuple[int, ...]) -> str:
    """Return why a transformer with these options cannot train on inputs of this shape, or an empty text.

    shape: (C, H, W) of images, or (T,) of sequences."""
    problem = problem_of_heads(options["width"], options["heads"])
    patch, default = options["patch"], TRANSFORMER_OPTIONS.values["patch"]
    if problem or len(shape) == 3:
        return problem or problem_of_patches(shape[1], shape[2], patch)
    return "" if patch == default else f"options.patch = {patch} is only for images: leave it out"


TRANSFORMER = describe(
    "transformer:make_transformer",
    "residual transformer on text or patches of images; its depth counts blocks (Vaswani et al. 2017)",
    TRANSFORMER_OPTIONS,
    DepthRule(),
    options={"residual": True},
    twin="plain_transformer",
    fuses=False,
    depth_unit="blocks",
    depth_counts="blocks, as usual for transformers. Each block is attention (linear maps for queries, keys, "
    "values and output) and an MLP of two linear maps",
    reads=frozenset({IMAGES, TOKENS, NEXT_TOKENS}),
    problem_of=problem_of,
)
PLAIN_TRANSFORMER = replace(
    TRANSFORMER,
    about="plain transformer on text or patches of images, without shortcuts; its depth counts blocks "
    "(Vaswani et al. 2017)",
    options={"residual": False},
    twin="transformer",
)
