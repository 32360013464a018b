"""The interface that evaluation needs of images, wherever they are kept."""

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor


class Pixels(Protocol):
    """Images (N, C, H, W) uint8: a tensor, `Mapped`, `Files` or `Corrupted`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def split(self, size: int, /) -> Iterable[Tensor]:
        """Return tensors of `size` images each, the last one smaller."""
        ...
