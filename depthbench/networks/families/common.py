"""Options, depth rules and a function that several descriptions share."""

from typing import Any

from depthbench.networks.family import DepthList, DepthRule, Family
from depthbench.networks.options import Architecture

OPTIONS = frozenset(
    {
        "width",
        "norm",
        "init",
        "activation",
        "tat_eta",
        "dropout",
        "branch_scale",
        "depth_alpha",
        "base_blocks",
        "learned_scale",
        "survival",
        "survival_rule",
    }
)
"""The options of most residual networks."""

WITHOUT_NORM = frozenset({"width", "activation", "dropout", "survival", "survival_rule"})
"""The options of residual networks that are trained without normalisation."""

SIX_N_PLUS_2, SIX_N_PLUS_4 = DepthRule(6, 2), DepthRule(6, 4)
NINE_N_PLUS_2 = DepthRule(9, 2)


def describe(
    target: str, about: str, architecture: Architecture, depths: DepthRule | DepthList, **known: Any
) -> Family:
    """Return the Family of a builder, which takes the options of its architecture.

    target: the builder, as `module:class` in depthbench.networks. known: further fields of Family."""
    return Family(
        f"depthbench.networks.{target}",
        about,
        depths=depths,
        takes=architecture.takes,
        unset=architecture.values,
        unset_at=architecture.values_at,
        **known,
    )
