"""CORRUPTIONS: every corruption of test images, at a glance. They serve to measure robustness.

Each entry loads a function `corrupt(x, generators, strength, white)` that returns the uint8 images
x (B, C, H, W) corrupted. There is one numpy random generator for each image, and `white` is the highest value
that a pixel may have."""

from dataclasses import dataclass

from depthbench.registry import Entry


@dataclass(frozen=True)
class Corruption(Entry):
    """A corruption, the unit of its strengths, and the strengths at which it is measured, weakest first."""

    unit: str = ""
    strengths: tuple[float, ...] = ()


CORRUPTIONS: dict[str, Corruption] = {
    "rotated": Corruption(
        "depthbench.data.corruptions.functions:rotate",
        "rotated about the middle",
        unit="degrees",
        strengths=(5, 10, 20, 40),
    ),
    "occluded": Corruption(
        "depthbench.data.corruptions.functions:occlude",
        "behind a grey square",
        unit="side, as a fraction of the image's",
        strengths=(0.125, 0.25, 0.375, 0.5),
    ),
    "noisy": Corruption(
        "depthbench.data.corruptions.functions:add_noise",
        "under Gaussian noise",
        unit="standard deviation, white is 255",
        strengths=(8, 16, 32, 64),
    ),
    "blurred": Corruption(
        "depthbench.data.corruptions.functions:blur",
        "under Gaussian blur",
        unit="standard deviation, as a fraction of the image's side",
        strengths=(0.02, 0.04, 0.08, 0.16),
    ),
}
