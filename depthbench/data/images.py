"""Images: a data set as it was read, in memory or in a file; and its splits."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from depthbench.data.files import Files
from depthbench.data.mapped import Mapped, choose
from depthbench.data.settings import Data
from depthbench.errors import BadInput

HASHED = 4096  # images read at once for their hash


def chance_error(classes: int, guesses: int = 1) -> float:
    """Return the percentage of images whose class is not among `guesses` guesses."""
    return 100.0 * (1 - guesses / classes)


@dataclass(frozen=True, eq=False)  # equal to itself alone, which makes it a key of what is made of it once
class Images:
    """Labelled images. N images, C channels, H x W pixels."""

    name: str
    train_x: np.ndarray | Mapped | Files  # (N, C, H, W) uint8
    train_y: np.ndarray  # (N,) int64, 0 <= y < len(classes)
    test_x: np.ndarray | Mapped | Files  # (M, C, H, W) uint8
    test_y: np.ndarray  # (M,) int64
    classes: tuple[str, ...]
    flips: bool  # whether a mirrored image keeps its class
    val_x: np.ndarray | Mapped | Files | None = None
    val_y: np.ndarray | None = None
    skipped: tuple[str, ...] = ()  # files that could not be read
    white: int = 255  # the greatest value that a pixel may have

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.train_x.shape[1:]

    @property
    def pixels(self) -> list[np.ndarray | Mapped | Files]:
        """Of the training images, the test images and, where there are some, the validation images."""
        return [x for x in (self.train_x, self.test_x, self.val_x) if x is not None]

    @property
    def chance_error(self) -> float:
        """The error (percent) of guessing a class."""
        return chance_error(len(self.classes))

    def content_hash(self) -> str:
        """sha256 of every pixel and label, and of how they are split. Of images that are decoded as they are
        read, in place of the pixels: names and sizes of all files, and the bytes of some (Files)."""
        digest = hashlib.sha256()
        for array in (self.train_x, self.train_y, self.val_x, self.val_y, self.test_x, self.test_y):
            if array is not None:
                digest.update(f"{array.dtype}{array.shape}".encode())
                if isinstance(array, Files):
                    digest.update(array.content_hash())
                    continue
                for start in range(0, len(array), HASHED):
                    digest.update(np.ascontiguousarray(array[start : start + HASHED]).data)
        return digest.hexdigest()


def split(y: np.ndarray, part: float | int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (kept, part) of labels `y`: a stratified `part` (a fraction or a number), drawn by `seed`.

    Each class is shared out in proportion, so that a rare one may have no image in the part. Raises BadInput
    where the part or the rest has fewer images than there are classes, or a class has one image only."""
    from sklearn.model_selection import train_test_split

    try:
        kept, taken = train_test_split(np.arange(len(y)), test_size=part, random_state=seed, stratify=y)
    except ValueError as error:
        raise BadInput(f"cannot split {part} off {len(y)} images, every class in both: {error}") from None
    return np.sort(kept), np.sort(taken)


def with_validation(images: Images, data: Data) -> Images:
    """`images` with its validation set taken out of the training set, as `data` asks.

    Raises BadInput where that cannot be, or it has a validation set of its own."""
    key = "val_fraction" if data.val_size is None else "val_size"
    part = getattr(data, key)
    if part is None:
        return images
    if images.val_x is not None:
        raise BadInput(
            f"data.{key} = {part}: {images.name} has val/, which is its validation set; unset {key}"
        )
    try:
        kept, taken = split(images.train_y, part, data.split_seed)
    except BadInput as error:
        raise BadInput(f"data.{key} = {part}: {error}") from None
    return replace(
        images,
        train_x=choose(images.train_x, kept),
        train_y=images.train_y[kept],
        val_x=choose(images.train_x, taken),
        val_y=images.train_y[taken],
    )
