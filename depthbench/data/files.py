"""Images that stay in their files and are decoded each time they are read.

This serves folders whose pixels fit neither in memory nor on disk, such as ImageNet. Views follow He et al.
2015, sec. 3.4: training takes a random crop at a random scale, testing the centre crop or 10 crops at one
scale. Shapes: N images, B batch, S pixels of a side."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from depthbench.data.decoding import Unreadable, decode, is_turned_or_transparent
from depthbench.data.settings import PAPER_CROP_SIDE
from depthbench.errors import BadInput
from depthbench.text import readable

if TYPE_CHECKING:
    from PIL.Image import Image

TEST_SCALE = 256 / PAPER_CROP_SIDE  # ratio of the shorter side to the side of a crop, in testing
POSITIONS = 2**20  # positions of a crop along each axis: more than an image has pixels there
CHUNK = 256  # images decoded at once when all are read
MAX_HASHED = 1000  # files whose bytes are hashed; for the others, only names and sizes


def sides(scale: list[int], size: int) -> tuple[int, int]:
    """Return the range of scale augmentation: the lowest and highest length of the shorter side, in pixels.

    Both are included. `scale`, which is [256, 480] in the paper, is for crops of PAPER_CROP_SIDE. It is
    adapted in proportion to crops of `size` pixels."""
    shortest, longest = (round(side * size / PAPER_CROP_SIDE) for side in scale)
    return shortest, longest


class Crops(NamedTuple):
    """A random crop of each of B images. Every field is (B,) int64."""

    image: np.ndarray  # its index in the set
    side: np.ndarray  # length of the shorter side after scaling, in pixels
    top: np.ndarray  # 0 to POSITIONS - 1: the offset as a fraction of the possible ones, times POSITIONS
    left: np.ndarray  # as `top`


class Files:
    """Images (N, 3, S, S) uint8 in the files `names` below `root`: all of them, or those at `rows`.

    Indexing by a number, a slice or an array of indices decodes centre crops, `crop` returns random crops and
    `ten_crops` ten crops of each image. Only names and sizes are kept in memory. An image that cannot be read
    raises BadInput when it is read, because opening a million files at every start takes too long."""

    dtype = np.dtype(np.uint8)

    def __init__(
        self, root: Path, names: np.ndarray, sizes: np.ndarray, *, side: int, rows: np.ndarray | None = None
    ):
        self.root, self.side = root, side
        self.names, self.sizes = names, sizes  # (N,) bytes; (N,) int64, in bytes
        self.rows = np.arange(len(names)) if rows is None else rows

    @classmethod
    def of(cls, root: Path, files: list[Path], side: int) -> "Files":
        """Return `files`, all below `root`, as Files. A missing file has size 0."""
        sizes = [file.stat().st_size if file.exists() else 0 for file in files]
        names = np.array([os.fsencode(file.relative_to(root)) for file in files])
        return cls(root, names, np.array(sizes, dtype=np.int64), side=side)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self), 3, self.side, self.side)

    @property
    def nbytes(self) -> int:
        """The size of all images when decoded, in bytes."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | slice | np.ndarray) -> np.ndarray:
        rows = self.rows[key]
        if np.ndim(rows) == 0:
            return self._read(int(rows), self._centre_crop)
        return self._stack([self._read(row, self._centre_crop) for row in rows])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        images = np.empty(self.shape, self.dtype)
        for start, chunk in zip(range(0, len(self), CHUNK), self.split(CHUNK), strict=True):
            images[start : start + CHUNK] = chunk
        return images.astype(dtype or self.dtype, copy=False)

    def crop(self, crops: Crops) -> np.ndarray:
        """Return the random crops (B, 3, S, S) that `crops` describes."""
        images = []
        for index, side, top, left in zip(*crops, strict=True):
            view = partial(self._random_crop, side=side, top=top, left=left)
            images.append(self._read(self.rows[index], view))
        return self._stack(images)

    def choose(self, indices: np.ndarray) -> "Files":
        """Return the images at `indices` without reading them."""
        return Files(self.root, self.names, self.sizes, side=self.side, rows=self.rows[indices])

    def split(self, size: int, /) -> Iterator[Any]:
        """Yield tensors (B, 3, S, S) of the centre crops of `size` images each. The last may have fewer."""
        return self._in_chunks(size, self._centre_crop)

    def ten_crops(self, size: int) -> Iterator[Any]:
        """Yield tensors (B, 10, 3, S, S) of ten crops of `size` images each, at the scale of testing.

        The first five are the corners and the centre, and the others are their mirror images."""
        return self._in_chunks(size, self._ten_crops_of)

    def content_hash(self) -> bytes:
        """Return the sha256 of the name and size of every file, and of the content of evenly spaced files.

        These are at most MAX_HASHED files. If one of them is turned or blended with white, the hash differs
        from that of earlier versions, which did neither. Raises BadInput if one cannot be read."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(self.names[row] + b"\0" + int(self.sizes[row]).to_bytes(8, "big"))
        for row in self.rows[:: max(1, -(-len(self) // MAX_HASHED))]:
            try:
                content = self._path(row).read_bytes()
            except OSError as error:
                raise self._unreadable(row, error) from None
            digest.update(content)
            if is_turned_or_transparent(content):
                digest.update(b"decoded as displayed")
        return digest.digest()

    def _in_chunks(self, size: int, view: Callable[["Image"], np.ndarray]) -> Iterator[Any]:
        """Yield views of all images, `size` images at a time.

        A pool with as many threads as torch decodes the next images while the caller uses the last ones. If
        CUDA is in use, the tensors are pinned, so that a copy to the GPU does not block."""
        import torch  # only training needs it

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:

            def begin(start: int) -> list[Future[np.ndarray]]:
                return [pool.submit(self._read, row, view) for row in self.rows[start : start + size]]

            following = begin(0)
            for start in range(size, len(self) + size, size):
                current, following = following, begin(start)
                views = [future.result() for future in current]
                shape, is_pinned = (len(views), *views[0].shape), torch.cuda.is_initialized()
                chunk = torch.empty(shape, dtype=torch.uint8, pin_memory=is_pinned)
                np.stack(views, out=chunk.numpy())
                yield chunk

    def _read(self, row: int, view: Callable[["Image"], np.ndarray]) -> np.ndarray:
        try:
            return view(decode(self._path(row)))
        except Unreadable as error:
            raise self._unreadable(row, error) from None

    def _unreadable(self, row: int, error: Exception) -> BadInput:
        reason = " ".join(str(error).split())
        return BadInput(
            f"image {readable(str(self._path(row)))} cannot be read ({reason}): replace or remove it"
        )

    def _path(self, row: int) -> Path:
        return self.root / os.fsdecode(self.names[row])

    def _centre_crop(self, image: "Image") -> np.ndarray:
        image = self._at_test_scale(image)
        left, top = (round((length - self.side) / 2) for length in image.size)
        return self._crop(image, top, left)

    def _ten_crops_of(self, image: "Image") -> np.ndarray:
        from torchvision.transforms.v2 import TenCrop

        crops = TenCrop(self.side)(self._at_test_scale(image))
        return np.stack([_array(crop) for crop in crops])  # (10, 3, S, S)

    def _at_test_scale(self, image: "Image") -> "Image":
        return _resized(image, round(self.side * TEST_SCALE))

    def _random_crop(self, image: "Image", side: int, top: int, left: int) -> np.ndarray:
        image = _resized(image, int(side))
        width, height = image.size
        top, left = (
            int(position) * (length - self.side + 1) // POSITIONS
            for position, length in ((top, height), (left, width))
        )
        return self._crop(image, top, left)

    def _crop(self, image: "Image", top: int, left: int) -> np.ndarray:
        return _array(image.crop((left, top, left + self.side, top + self.side)))

    def _stack(self, images: list[np.ndarray]) -> np.ndarray:
        return np.stack(images) if images else np.empty((0, *self.shape[1:]), np.uint8)


def _resized(image: "Image", side: int) -> "Image":
    """Return `image` with a shorter side of `side` pixels, scaled as torchvision does.

    torchvision itself would cost every worker process 90 MB."""
    from PIL.Image import Resampling

    shortest = min(image.size)
    width, height = (side * length // shortest for length in image.size)
    return image.resize((width, height), Resampling.BILINEAR)


def _array(image: "Image") -> np.ndarray:
    return np.asarray(image).transpose(2, 0, 1)  # (3, H, W)
