"""CORRUPTIONS: what test images are spoilt by, at graded strengths, to see how robust a network is.

What is drawn for an image depends on its place in the test set and on the corruption alone: every network and
seed sees the same images, whatever the device, and a stronger corruption is more of the same.

Shapes: B batch, C channels, H W pixels. `white` is the greatest value of a pixel. torch is imported where it
is used: names, units and strengths are known without it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from depthbench.data.placement import Pixels

Draws = list[np.random.Generator]  # one an image


@dataclass(frozen=True)
class Corruption:
    """`spoil(x, draws, strength, white)` gives x (B, C, H, W) uint8 corrupted; `unit` is its strengths'."""

    about: str
    unit: str
    strengths: tuple[float, ...]
    spoil: Callable[["Tensor", Draws, float, int], "Tensor"]


def rotated(x: "Tensor", draws: Draws, degrees: float, white: int) -> "Tensor":
    """About the middle, each image in a direction of its own. The pixels at the edge go on beyond it: black
    corners would be a second corruption."""
    import torch
    from torchvision.transforms.v2 import InterpolationMode, functional

    height, width = x.shape[2:]
    margin = math.ceil((math.hypot(height, width) - min(height, width)) / 2)
    wide = functional.pad(x, [margin], padding_mode="edge")

    def turn(angle: float) -> "Tensor":
        turned = functional.rotate(wide, angle, InterpolationMode.BILINEAR)
        return functional.center_crop(turned, [height, width])

    leftwards = torch.tensor([draw.random() < 0.5 for draw in draws], device=x.device)
    return torch.where(leftwards[:, None, None, None], turn(degrees), turn(-degrees))


def occluded(x: "Tensor", draws: Draws, part: float, white: int) -> "Tensor":
    """A grey square at a place of the image's own hides what is behind it."""
    import torch
    from torchvision.transforms.v2 import functional

    height, width = x.shape[2:]
    side = max(1, round(part * min(height, width)))
    grey = torch.full((), white // 2, dtype=x.dtype, device=x.device)
    images = []
    for image, draw in zip(x, draws, strict=True):
        top, left = (int(draw.random() * (length - side + 1)) for length in (height, width))
        images.append(functional.erase(image, top, left, side, side, grey))
    return torch.stack(images)


def noisy(x: "Tensor", draws: Draws, std: float, white: int) -> "Tensor":
    """Gaussian noise on every pixel and channel, cut off at black and white."""
    import torch

    drawn = np.stack([draw.standard_normal(x.shape[1:], dtype=np.float32) for draw in draws])
    noise = torch.from_numpy(drawn).to(x.device) * (std * white / 255)
    return (x + noise).round().clamp(0, white).to(x.dtype)


def blurred(x: "Tensor", draws: Draws, part: float, white: int) -> "Tensor":
    """Gaussian blur, over three standard deviations to each side. One far below a pixel changes nothing."""
    from torchvision.transforms.v2 import functional

    side = min(x.shape[2:])
    reach = min(math.ceil(3 * part * side), side - 1)  # pixels: no more can be mirrored at the edge
    return functional.gaussian_blur(x, [2 * reach + 1] * 2, [part * side] * 2)


CORRUPTIONS: dict[str, Corruption] = {
    "rotated": Corruption("rotated about the middle", "degrees", (5, 10, 20, 40), rotated),
    "occluded": Corruption(
        "behind a grey square", "side, part of the image's", (0.125, 0.25, 0.375, 0.5), occluded
    ),
    "noisy": Corruption("under Gaussian noise", "standard deviation, white is 255", (8, 16, 32, 64), noisy),
    "blurred": Corruption(
        "under Gaussian blur",
        "standard deviation, part of the image's side",
        (0.02, 0.04, 0.08, 0.16),
        blurred,
    ),
}


class Corrupted:
    """The images `x` (N, C, H, W) uint8 under the corruption `name`, made batch by batch on the host: a GPU
    rounds differently, with TF32 by a grey level."""

    def __init__(self, x: "Pixels", name: str, strength: float, white: int):
        self.x, self.name, self.strength, self.white = x, name, strength, white
        self.shape = x.shape

    def split(self, size: int) -> Iterator[Any]:
        """Tensors of `size` images each, the last one smaller."""
        first = 0
        for part in self.x.split(size):
            places = range(first, first + len(part))
            draws = [np.random.default_rng([*self.name.encode(), place]) for place in places]
            yield CORRUPTIONS[self.name].spoil(part.cpu(), draws, self.strength, self.white)
            first += len(part)
