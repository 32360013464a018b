"""Images in a file: read when they are asked for, so that there may be more of them than memory holds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


class Mapped:
    """Images (N, C, H, W) uint8 of a file, all of them or those at `rows`, (N,) into the file's.

    Processes that map one file share its pages in memory. Indexing by a number, a slice or an array of
    indices gives a numpy array, and `np.asarray` all of it; nothing can be written. Pickled, it is the
    file's name and not its content."""

    def __init__(self, file: np.memmap, rows: np.ndarray | None = None):
        self.file = file
        self.rows = np.arange(len(file)) if rows is None else rows
        consecutive = len(self.rows) > 0 and bool((np.diff(self.rows) == 1).all())
        self.start = int(self.rows[0]) if consecutive else None  # such rows need no copy

    dtype = np.dtype(np.uint8)

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

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self[:], dtype=dtype, copy=copy)

    def choose(self, indices: np.ndarray) -> "Mapped":
        """Those at `indices`, none of them read."""
        return Mapped(self.file, self.rows[indices])

    def split(self, size: int) -> Iterator[Any]:
        """Tensors of `size` images each, the last one smaller."""
        from depthbench.data.tensors import as_tensor  # torch, which only training needs

        for start in range(0, len(self), size):
            yield as_tensor(self[start : start + size])

    def __reduce__(self):
        whole = self.file
        while isinstance(whole.base, np.memmap):  # of a slice, numpy keeps the offset of the whole
            whole = whole.base
        offset = whole.offset + self.file.ctypes.data - whole.ctypes.data
        return _open, (whole.filename, offset, self.file.shape, self.rows)


def _open(filename: Path, offset: int, shape: tuple[int, ...], rows: np.ndarray) -> Mapped:
    return Mapped(np.memmap(filename, np.uint8, "r", offset, shape), rows)


def mapped(x: Any) -> Any:
    """`x`, as Mapped where it is a memory-mapped file, and as it stands in there."""
    is_file = isinstance(x, np.memmap) and x.filename is not None and x.flags.c_contiguous
    return Mapped(x) if is_file and x.dtype == np.uint8 and x.mode != "c" else x


def choose(x: np.ndarray | Mapped, indices: np.ndarray) -> np.ndarray | Mapped:
    """The images of `x` at `indices`: a copy of those in memory, none of those in a file or in many."""
    return x[indices] if isinstance(x, np.ndarray) else x.choose(indices)
