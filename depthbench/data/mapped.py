"""Images in a memory-mapped file. They are read on demand, so they may exceed the memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike


class Mapped:
    """Images (N, C, H, W) uint8 in a file: all of them, or those at `rows` (N,) of the file.

    Processes that map the same file share its pages in memory. Indexing by a number, a slice or an array of
    indices returns a numpy array, and `np.asarray` returns all images. Images are read-only. A pickle holds
    the name of the file, not its content."""

    dtype = np.dtype(np.uint8)

    def __init__(self, file: np.memmap, rows: np.ndarray | None = None):
        self.file = file
        self.rows = np.arange(len(file)) if rows is None else rows
        consecutive = len(self.rows) > 0 and bool((np.diff(self.rows) == 1).all())
        self.start = int(self.rows[0]) if consecutive else None  # consecutive rows need no copy

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.file.shape[1:])

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | slice | np.ndarray) -> np.ndarray:
        if self.start is not None and isinstance(key, slice):
            return self.file[self.start : self.start + len(self)][key]
        return np.asarray(self.file[self.rows[key]])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self[:], dtype=dtype, copy=copy)

    def choose(self, indices: np.ndarray) -> "Mapped":
        """Return the images at `indices` without reading them."""
        return Mapped(self.file, self.rows[indices])

    def split(self, size: int, /) -> Iterator[Any]:
        """Yield tensors (B, C, H, W) of `size` images each. The last may have fewer."""
        from depthbench.data.tensors import as_tensor  # imports torch, which only training needs

        for start in range(0, len(self), size):
            yield as_tensor(self[start : start + size])

    def __reduce__(self) -> tuple[Any, ...]:
        whole = self.file
        while isinstance(whole.base, np.memmap):  # numpy gives a slice the offset of the whole file
            whole = whole.base
        offset = whole.offset + self.file.ctypes.data - whole.ctypes.data
        return _open, (whole.filename, offset, self.file.shape, self.rows)


def _open(filename: Path, offset: int, shape: tuple[int, ...], rows: np.ndarray) -> Mapped:
    return Mapped(np.memmap(filename, np.uint8, "r", offset, shape), rows)


def as_mapped(x: Any) -> Any:
    """Return `x` as Mapped if it is a memory-mapped file of bytes, in file order; else `x` unchanged."""
    is_file = isinstance(x, np.memmap) and x.filename is not None and x.flags.c_contiguous
    return Mapped(x) if is_file and x.dtype == np.uint8 and x.mode != "c" else x
