"""The memory that holds the images of a study. Sizes are in bytes."""

from dataclasses import dataclass
from math import prod

import numpy as np

from depthbench.data.images import Images
from depthbench.data.residency import should_stream
from depthbench.machine.memory import available


@dataclass(frozen=True)
class ImageFootprint:
    """The properties of a study's images that affect the cost of a run."""

    shape: tuple[int, int, int]
    """(C, H, W)."""
    classes: int
    held: int
    """Bytes of images that each process keeps for itself, on its device."""
    evaluated: int
    """Number of images in each evaluation."""
    are_streamed: bool = False
    """Whether each run has processes that read training images ahead."""
    evaluation_copy: int = 0
    """Bytes of the training images that each run evaluates on. 0 if these are all of them, or streamed."""
    in_file: int = 0
    """Bytes of images that all processes map from one file (data/shared.py). 0 if images are streamed."""


def measure_footprint(images: Images, train_size: int | None, device: str) -> ImageFootprint:
    """Return the footprint of `images`, placed as data/placement.py will place them.

    train_size: number of training images in each evaluation, None for all."""
    pixels = images.pixels
    available_train = len(images.train_y)
    evaluated_train = min(train_size or available_train, available_train)
    validation = 0 if images.val_y is None else len(images.val_y)
    are_streamed = should_stream(images, device, available(device))
    has_copy = evaluated_train < available_train and not are_streamed
    in_file = 0
    if device.startswith("cuda"):
        held = 0 if are_streamed else sum(x.nbytes for x in pixels)
    elif are_streamed:
        held = sum(x.nbytes for x in (images.train_x,) if isinstance(x, np.ndarray))
    else:
        in_file = sum(x.nbytes for x in pixels)
        held = sum(x.nbytes for x in pixels if device != "cpu" or not _is_used_in_place(x))
    return ImageFootprint(
        shape=images.shape,
        classes=len(images.classes),
        held=held,
        evaluated=evaluated_train + len(images.test_y) + validation,
        are_streamed=are_streamed,
        evaluation_copy=evaluated_train * prod(images.shape) if has_copy else 0,
        in_file=in_file,
    )


def _is_used_in_place(pixels: object) -> bool:
    """Return whether a CPU uses these pixels without a copy: all of an array, or consecutive in a file."""
    return isinstance(pixels, np.ndarray) or getattr(pixels, "start", None) is not None
