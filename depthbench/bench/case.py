"""What is trained in a benchmark: a residual network at 32 x 32, or one of the digits study."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depthbench.data.images import Images
from depthbench.study.file import load_study
from depthbench.study.model import Run

ENDLESS = 64_000  # steps: the paper's length, which no benchmark reaches
CIFAR = (50_000, 3, 32, 32)  # what is timed does not depend on what is in the pictures: they are noise
DIGITS = (1437, 1, 8, 8)
NETWORK = "resnet"  # its plain twin lacks additions only


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
        """(C, H, W)."""
        return (DIGITS if self.digits else CIFAR)[1:]

    def run(self, probe: dict[str, Any], steps: int = ENDLESS) -> Run:
        """The run that is timed, with `probe` as the [probe] of its study. Raises BadInput for a depth or a
        batch size that cannot be."""
        grid = {"network": [NETWORK], "depth": [self.depth], "seed": [0]}
        recipe = {"steps": steps, "batch_size": self.batch_size, "precision": self.precision}
        if self.digits:
            study = load_study("quick", grid=grid, recipe=recipe, probe=probe)
        else:
            study = load_study(None, data={"name": "cifar10"}, grid=grid, recipe=recipe, probe=probe)
        return next(study.resolve((DIGITS if self.digits else CIFAR)[0], flips=not self.digits).runs())

    def images(self) -> Images:
        """As many as the data set has."""
        if self.digits:
            from depthbench.data.digits import load

            return load(Path())
        x = np.random.default_rng(0).integers(0, 256, CIFAR, dtype=np.uint8)
        y = np.arange(len(x)) % 10
        return Images("noise", x, y, x[:100], y[:100], tuple("0123456789"), flips=True)
