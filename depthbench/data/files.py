"""Images that stay in their files, and are decoded each time they are read: for folders of which neither
memory nor disk holds the pixels, such as ImageNet.

Shapes: N images, B batch, S pixels of a side. Views are those of He et al. 2015, sec. 3.4: in training a
random crop of the image at a random scale, in testing the centre crop or 10 crops at one scale."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from depthbench.data.decoding import Unreadable, decode
from depthbench.data.settings import PAPER_CROP_SIDE
from depthbench.errors import BadInput

if TYPE_CHECKING:
    from PIL.Image import Image

TEST_SCALE = 256 / PAPER_CROP_SIDE  # the shorter side to the side of a crop, in testing
PLACES = 2**20  # places of a crop in the room that it has: more than pixels
PART = 256  # images decoded at once for an array of all
HASHED = 1000  # files whose bytes are hashed; of the others only names and sizes


def sides(scale: list[int], size: int) -> tuple[int, int]:
    """The shortest and longest shorter side of scale augmentation, both included, for crops of `size` pixels:
    `scale`, which is [256, 480] in the paper, in proportion."""
    shortest, longest = (round(side * size / PAPER_CROP_SIDE) for side in scale)
    return shortest, longest


class Cuts(NamedTuple):
    """A random crop of each of B images. All (B,) int64."""

    index: np.ndarray
    side: np.ndarray  # pixels that the image's shorter side is scaled to
    top: np.ndarray  # below PLACES: a part of the room that there is
    left: np.ndarray


class Files:
    """Images (N, 3, S, S) uint8 of the files `names` below `root`, all of them or those at `rows`.

    Indexing by a number, a slice or an array of indices decodes the centre crops; `cut` gives random ones,
    and `views` several of each image. Nothing is kept in memory but names and sizes. An image that cannot be
    read raises BadInput then, not before: to open a million files takes too long at every start."""

    dtype = np.dtype(np.uint8)

    def __init__(
        self, root: Path, names: np.ndarray, sizes: np.ndarray, side: int, rows: np.ndarray | None = None
    ):
        self.root, self.side = root, side
        self.names, self.sizes = names, sizes  # (N,) bytes; (N,) int64, in bytes
        self.rows = np.arange(len(names)) if rows is None else rows

    @classmethod
    def of(cls, root: Path, files: list[Path], side: int) -> "Files":
        """Those of `files`, all below `root`, one of which may not be there: its size is 0."""
        sizes = [file.stat().st_size if file.exists() else 0 for file in files]
        names = np.array([os.fsencode(file.relative_to(root)) for file in files])
        return cls(root, names, np.array(sizes, dtype=np.int64), side)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self), 3, self.side, self.side)

    @property
    def nbytes(self) -> int:
        """Of all images, once decoded."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | slice | np.ndarray) -> np.ndarray:
        rows = self.rows[key]
        if np.ndim(rows) == 0:
            return self._read(rows, self._centre)
        return self._stack([self._read(row, self._centre) for row in rows])

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        images = np.empty(self.shape, self.dtype)
        for start, part in zip(range(0, len(self), PART), self.split(PART), strict=True):
            images[start : start + PART] = part
        return images.astype(dtype or self.dtype, copy=False)

    def cut(self, cuts: Cuts) -> np.ndarray:
        """The crops (B, 3, S, S) that `cuts` says, of the images at its indices."""
        crops = []
        for index, side, top, left in zip(*cuts, strict=True):
            row = self.rows[index]
            crops.append(self._read(row, lambda image, cut=(side, top, left): self._cut(image, *cut)))
        return self._stack(crops)

    def choose(self, indices: np.ndarray) -> "Files":
        """Those at `indices`, none of them read."""
        return Files(self.root, self.names, self.sizes, self.side, self.rows[indices])

    def split(self, size: int) -> Iterator[Any]:
        """Tensors (B, 3, S, S) of the centre crops of `size` images each, the last one smaller."""
        return self._in_parts(size, self._centre)

    def ten_crops(self, size: int) -> Iterator[Any]:
        """Tensors (B, 10, 3, S, S) of the corners and the centre of `size` images each, and of their mirror
        images, at the scale of testing; the fifth is the centre crop."""
        return self._in_parts(size, self._ten)

    def content_hash(self) -> bytes:
        """sha256 of the name and size of every file, and of all bytes of some spread evenly over them."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(self.names[row] + b"\0" + int(self.sizes[row]).to_bytes(8, "big"))
        for row in self.rows[:: max(1, -(-len(self) // HASHED))]:
            try:
                digest.update(self._path(row).read_bytes())
            except OSError as error:
                raise self._told(row, error) from None
        return digest.digest()

    def _in_parts(self, size: int, view: Callable[["Image"], np.ndarray]) -> Iterator[Any]:
        """Views of all images, decoded by as many threads as torch has, the next part while the last one is
        used; where CUDA is used, in pinned memory, from which a copy to the GPU is not waited for."""
        import torch  # which only training needs

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:

            def begin(start: int) -> list:
                return [pool.submit(self._read, row, view) for row in self.rows[start : start + size]]

            ahead = begin(0)
            for start in range(size, len(self) + size, size):
                part, ahead = ahead, begin(start)
                views = [future.result() for future in part]
                shape, is_pinned = (len(views), *views[0].shape), torch.cuda.is_initialized()
                together = torch.empty(shape, dtype=torch.uint8, pin_memory=is_pinned)
                np.stack(views, out=together.numpy())
                yield together

    def _read(self, row: int, view: Callable[["Image"], np.ndarray]) -> np.ndarray:
        try:
            return view(decode(self._path(row)))
        except Unreadable as error:
            raise self._told(row, error) from None

    def _told(self, row: int, error: Exception) -> BadInput:
        reason = " ".join(str(error).split())
        return BadInput(f"image {self._path(row)} cannot be read ({reason}): mend or remove it")

    def _path(self, row: int) -> Path:
        return self.root / os.fsdecode(self.names[row])

    def _centre(self, image: "Image") -> np.ndarray:
        image = self._scaled(image)
        left, top = (round((length - self.side) / 2) for length in image.size)
        return self._crop(image, top, left)

    def _ten(self, image: "Image") -> np.ndarray:
        from torchvision.transforms.v2 import functional

        crops = functional.ten_crop(self._scaled(image), [self.side, self.side])
        return np.stack([_array(crop) for crop in crops])  # (10, 3, S, S)

    def _scaled(self, image: "Image") -> "Image":
        return _resized(image, round(self.side * TEST_SCALE))

    def _cut(self, image: "Image", side: int, top: int, left: int) -> np.ndarray:
        image = _resized(image, int(side))
        width, height = image.size
        top, left = (
            int(place) * (length - self.side + 1) // PLACES
            for place, length in ((top, height), (left, width))
        )
        return self._crop(image, top, left)

    def _crop(self, image: "Image", top: int, left: int) -> np.ndarray:
        return _array(image.crop((left, top, left + self.side, top + self.side)))

    def _stack(self, images: list[np.ndarray]) -> np.ndarray:
        return np.stack(images) if images else np.empty((0, *self.shape[1:]), np.uint8)


def _resized(image: "Image", side: int) -> "Image":
    """`image` with a shorter side of so many pixels, as torchvision scales it. Not by torchvision: every
    process that reads would import it, and have 90 MB more."""
    from PIL.Image import Resampling

    shortest = min(image.size)
    return image.resize(tuple(side * length // shortest for length in image.size), Resampling.BILINEAR)


def _array(image: "Image") -> np.ndarray:
    return np.asarray(image).transpose(2, 0, 1)  # (3, H, W)
