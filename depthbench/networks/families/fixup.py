"""Residual networks that Fixup initialises (Zhang et al. 2019)."""

from depthbench.networks.families.cifar import cifar_structure
from depthbench.networks.families.common import SIX_N_PLUS_2, WITHOUT_NORM, describe
from depthbench.networks.options import Architecture

FIXUP_OPTIONS = Architecture("fixup", WITHOUT_NORM, {"width": 16, "order": "original", "norm": "none"})

FIXUP = describe(
    "fixup:FixupNet",
    "residual CIFAR network without normalisation, initialised by Fixup (Zhang et al. 2019)",
    FIXUP_OPTIONS,
    SIX_N_PLUS_2,
    options={"residual": True},
    matched="plain with norm = none has the same initial weights, except those that Fixup scales or sets to "
    "zero; it has a bias for each channel, fixup one for each layer",
    zero_classifier=True,
    structure=cifar_structure(zero_branches=True),
)
