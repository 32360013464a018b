"""The functions that corrupt images. Each takes `(x, generators, strength, white)`; see CORRUPTIONS.

An image draws the same random numbers at every strength, so that only the strength differs.
Shapes: B batch, C channels, H W pixels."""

import math

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, functional

Generators = list[np.random.Generator]  # one for each image of the batch


def rotate(x: Tensor, generators: Generators, degrees: float, white: int) -> Tensor:
    """Rotate each image about its middle, in a random direction.

    The pixels at the edge are repeated outwards first, because black corners would be a second corruption."""
    height, width = x.shape[2:]
    margin = math.ceil((math.hypot(height, width) - min(height, width)) / 2)
    padded = functional.pad(x, [margin], padding_mode="edge")

    def rotate_all(angle: float) -> Tensor:
        rotated = functional.rotate(padded, angle, InterpolationMode.BILINEAR)
        return functional.center_crop(rotated, [height, width])

    leftwards = torch.tensor([generator.random() < 0.5 for generator in generators], device=x.device)
    return torch.where(leftwards[:, None, None, None], rotate_all(degrees), rotate_all(-degrees))


def occlude(x: Tensor, generators: Generators, fraction: float, white: int) -> Tensor:
    """Hide a random square of each image behind grey. Its side is `fraction` of the image's shorter side."""
    height, width = x.shape[2:]
    side = max(1, round(fraction * min(height, width)))
    grey = torch.full((), white // 2, dtype=x.dtype, device=x.device)
    images = []
    for image, generator in zip(x, generators, strict=True):
        top, left = (int(generator.random() * (length - side + 1)) for length in (height, width))
        images.append(functional.erase(image, top, left, side, side, grey))
    return torch.stack(images)


def add_noise(x: Tensor, generators: Generators, std: float, white: int) -> Tensor:
    """Add Gaussian noise to every pixel and channel, and clip to black and white."""
    drawn = np.stack([generator.standard_normal(x.shape[1:], dtype=np.float32) for generator in generators])
    noise = torch.from_numpy(drawn).to(x.device) * (std * white / 255)
    return (x + noise).round().clamp(0, white).to(x.dtype)


def blur(x: Tensor, generators: Generators, fraction: float, white: int) -> Tensor:
    """Blur with a Gaussian whose standard deviation is `fraction` of the image's shorter side.

    The kernel reaches three standard deviations to each side. A standard deviation far below one pixel
    changes nothing."""
    side = min(x.shape[2:])
    reach = min(math.ceil(3 * fraction * side), side - 1)  # pixels; mirroring at the edge allows no more
    return functional.gaussian_blur(x, [2 * reach + 1] * 2, [fraction * side] * 2)
