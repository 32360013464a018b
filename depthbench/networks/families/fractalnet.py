"""Fractal networks (Larsson et al. 2017)."""

from depthbench.networks.families.common import describe
from depthbench.networks.family import DepthList
from depthbench.networks.options import Architecture

FRACTAL_OPTIONS = Architecture(
    "fractalnet",
    frozenset({"width", "norm", "init", "activation", "drop_path"}),
    {"width": 64, "drop_path": 0.15, "order": "original"},
)
FRACTAL_BLOCKS = 5  # Larsson et al. 2017: 20 layers have 3 columns, 40 layers 4 columns
FRACTAL_DEPTHS = DepthList(tuple(FRACTAL_BLOCKS * 2**columns for columns in range(6)))

FRACTALNET = describe(
    "fractalnet:FractalNet",
    "fractal CIFAR network without shortcuts (Larsson et al. 2017)",
    FRACTAL_OPTIONS,
    FRACTAL_DEPTHS,
    matched="its deepest column, which alone is a plain network of the same depth. The other columns "
    "together have about as many parameters as this one",
    depth_counts="convolutions of the deepest column, without the classifier",
)
