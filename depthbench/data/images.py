"""Labelled images, in memory or in files, and splits of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from depthbench.data.files import Files
from depthbench.data.labelled import Labelled
from depthbench.data.mapped import Mapped
from depthbench.data.settings import Data
from depthbench.errors import BadInput
from depthbench.networks.task import Task

HostPixels = np.ndarray | Mapped | Files
"""Images (N, C, H, W) uint8 as a data set holds them."""

L = TypeVar("L", bound=Labelled)

MOST_NAMES = 3  # of classes, in a message


def chance_error(classes: int, guesses: int = 1) -> float:
    """Return the percentage of images whose class is not among `guesses` guesses."""
    return 100.0 * (1 - guesses / classes)


@dataclass(frozen=True, eq=False)  # compared by identity, so that it can be a key
class Images(Labelled):
    """Labelled images. N images, C channels, H x W pixels."""

    name: str
    train_x: HostPixels  # (N, C, H, W) uint8
    train_y: np.ndarray  # (N,) int64, 0 <= y < len(classes)
    test_x: HostPixels  # (M, C, H, W) uint8
    test_y: np.ndarray  # (M,) int64
    classes: tuple[str, ...]
    flips: bool  # whether a mirrored image keeps its class
    val_x: HostPixels | None = None
    val_y: np.ndarray | None = None
    skipped: tuple[str, ...] = ()  # files that could not be read
    notes: tuple[str, ...] = ()  # messages for the user before training starts
    white: int = 255  # the highest value that a pixel may have

    noun = "images"
    vocabulary = ()

    @property
    def task(self) -> Task:
        """What a network for these images reads and predicts."""
        return Task(tuple(self.train_x.shape[1:]), len(self.classes))

    @property
    def chance_error(self) -> float:
        """The error (percent) of guessing a class."""
        return chance_error(len(self.classes))

    def draw(self, size: float | int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw `size` of the training images at random, each class in proportion (see `split`)."""
        return split(self.train_y, size, seed, self.classes)


def problem_of_images(images: Images) -> str | None:
    """Return a description of what is wrong with the arrays of a data set, or None."""
    count = len(images.classes)
    if count < 2:
        return f"classes has {count} name{'s'[: count != 1]}, but a classifier needs at least 2"
    shape = None
    for part in ("train", "test", "val"):
        x, y = getattr(images, f"{part}_x"), getattr(images, f"{part}_y")
        if x is None and y is None and part == "val":
            continue
        for key, array, dtypes in ((f"{part}_x", x, ("uint8",)), (f"{part}_y", y, ("int64", "uint8"))):
            if not isinstance(array, HostPixels) or array.dtype not in dtypes:
                kind = f"has the type {array.dtype}" if hasattr(array, "dtype") else f"is {array!r:.40}"
                return f"{key} {kind}; it should be a numpy array of {dtypes[0]}"
        if len(x.shape) != 4 or not len(x):
            return f"{part}_x has the shape {tuple(x.shape)}; it should be (images, channels, height, width)"
        if tuple(y.shape) != (len(x),):
            return f"{part}_y has the shape {tuple(y.shape)}; it should be ({len(x)},), a label per image"
        if shape not in (None, x.shape[1:]):
            return f"{part}_x has images of {tuple(x.shape[1:])}, but train_x of {tuple(shape)}"
        shape = x.shape[1:]
        if y.min() < 0 or y.max() >= count:
            labels = f"{part}_y has labels from {y.min()} to {y.max()}"
            return f"{labels}, but the {count} classes are 0 to {count - 1}"
    return None


def choose(x: Any, indices: np.ndarray) -> Any:
    """Return the inputs of `x` at `indices`. Those in memory are copied. Images in files are not read."""
    return x[indices] if isinstance(x, np.ndarray) else x.choose(indices)


def split(
    y: np.ndarray, size: float | int, seed: int, classes: Sequence[str] = (), *, noun: str = "images"
) -> tuple[np.ndarray, np.ndarray]:
    """Split off `size` (a fraction or a number) of the labels `y` at random. Returns indices (kept, taken).

    `seed` determines the draw. Each class is divided in proportion, so a rare class may have no image in the
    smaller part. Raises BadInput if either part has fewer images than there are classes, or if a class has
    only one image. The message names it if `classes` has the name of each label."""
    from sklearn.model_selection import train_test_split

    try:
        kept, taken = train_test_split(np.arange(len(y)), test_size=size, random_state=seed, stratify=y)
    except ValueError:
        labels, counts = np.unique(y, return_counts=True)
        problem = f"cannot split {size} off {len(y)} {noun}"
        if len(classes) and (single := [classes[label] for label in labels[counts == 1]]):
            names = ", ".join(map(repr, single[:MOST_NAMES])) + ", ..." * (len(single) > MOST_NAMES)
            who = f"class {names} has" if len(single) == 1 else f"{len(single)} classes ({names}) have"
            raise BadInput(
                f"{problem}: {who} a single {noun.removesuffix('s')}, and each class needs at least 2; add "
                f"{noun} or remove it"
            ) from None
        raise BadInput(
            f"{problem}: each part needs at least as many {noun} as there are classes ({len(labels)}), "
            "and each class needs at least 2"
        ) from None
    return np.sort(kept), np.sort(taken)


def with_validation(images: L, data: Data) -> L:
    """Return the data set with a validation set taken out of the training set, if `data` requests one.

    Raises BadInput if that is impossible, or if the data set already has a validation set."""
    key = "val_fraction" if data.val_size is None else "val_size"
    size = getattr(data, key)
    if size is None:
        return images
    if images.val_x is not None:
        raise BadInput(
            f"data.{key} = {size}: {images.name} already has a validation set (val/): remove {key}"
        )
    try:
        kept, taken = images.hold_out(size, data.split_seed)
    except BadInput as error:
        raise BadInput(f"data.{key} = {size}: {error}") from None
    parts = {
        "train_x": choose(images.train_x, kept),
        "train_y": images.train_y[kept],
        "val_x": choose(images.train_x, taken),
        "val_y": images.train_y[taken],
    }
    return replace(images, **parts)  # type: ignore[type-var]  # both kinds are dataclasses
