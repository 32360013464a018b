"""The memory that holds the images or sequences of a study. Sizes are in bytes."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from depthbench.data.labelled import Labelled
from depthbench.data.residency import should_stream
from depthbench.machine.memory import available
from depthbench.networks.task import Task


@dataclass(frozen=True)
class ImageFootprint:
    """The properties of a study's images or sequences that affect the cost of a run."""

    shape: tuple[int, ...]
    """(C, H, W) of images, (T,) of sequences."""
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
    vocabulary: int = 0
    """Number of different tokens. 0 for images."""
    is_next: bool = False
    """Whether the next tokens are predicted."""

    @property
    def task(self) -> Task:
        """What a network for these inputs reads and predicts."""
        return Task(self.shape, self.classes, vocabulary=self.vocabulary, is_next=self.is_next)

    @classmethod
    def of_task(cls, task: Task, **sizes: Any) -> Self:
        """Return the footprint of the inputs of a task. sizes: the other fields."""
        return cls(task.shape, task.classes, vocabulary=task.vocabulary, is_next=task.is_next, **sizes)


def measure_footprint(images: Labelled, train_size: int | None, device: str) -> ImageFootprint:
    """Return the footprint of `images`, placed as data/placement.py will place them.

    train_size: number of training inputs in each evaluation, None for all."""
    pixels = images.inputs
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
    return ImageFootprint.of_task(
        images.task,
        held=held,
        evaluated=evaluated_train + len(images.test_y) + validation,
        are_streamed=are_streamed,
        evaluation_copy=evaluated_train * (images.train_x.nbytes // available_train) if has_copy else 0,
        in_file=in_file,
    )


def _is_used_in_place(pixels: object) -> bool:
    """Return whether a CPU uses these pixels without a copy: all of an array, or consecutive in a file."""
    return isinstance(pixels, np.ndarray) or getattr(pixels, "start", None) is not None
