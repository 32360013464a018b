"""The networks and images of a benchmark: a residual network at 32 x 32 pixels, or one on the digits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthbench.data.images import Images
from depthbench.networks.families.cifar import HE2015_CIFAR_STEPS
from depthbench.study.file import load_study
from depthbench.study.model import Run

ENDLESS = HE2015_CIFAR_STEPS  # no benchmark reaches the length in the paper
CIFAR = (50_000, 3, 32, 32)  # noise images: their content does not affect the timing
DIGITS = (1437, 1, 8, 8)
NETWORK = "resnet"  # its plain twin only lacks the additions


@dataclass(frozen=True)
class Case:
    """One network on one kind of images."""

    depth: int
    digits: bool
    batch_size: int
    precision: str

    @property
    def name(self) -> str:
        return f"{'digits' if self.digits else NETWORK}-{self.depth}"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape (C, H, W) of an image."""
        return (DIGITS if self.digits else CIFAR)[1:]

    def run(self, probe: dict[str, Any], steps: int = ENDLESS) -> Run:
        """Return the run to time, with `probe` as the section [probe] of its study.

        Raises BadInput for an impossible depth or batch size."""
        grid = {"network": [NETWORK], "depth": [self.depth], "seed": [0]}
        recipe = {"steps": steps, "batch_size": self.batch_size, "precision": self.precision}
        if self.digits:
            study = load_study("quick", grid=grid, recipe=recipe, probe=probe)
        else:
            study = load_study(None, data={"name": "cifar10"}, grid=grid, recipe=recipe, probe=probe)
        return next(study.resolve((DIGITS if self.digits else CIFAR)[0], flips=not self.digits).runs())

    def images(self) -> Images:
        """Return as many images as the data set has."""
        if self.digits:
            from depthbench.data.digits import load

            return load(Path())
        x = np.random.default_rng(0).integers(0, 256, CIFAR, dtype=np.uint8)
        y = np.arange(len(x)) % 10
        return Images("noise", x, y, x[:100], y[:100], tuple("0123456789"), flips=True)
