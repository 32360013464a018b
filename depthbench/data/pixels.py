"""The interface through which evaluation reads images, wherever they are kept."""

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor


class Pixels(Protocol):
    """Images (N, C, H, W) uint8: a tensor, `Mapped`, `Files` or `Corrupted`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def split(self, size: int, /) -> Iterable[Tensor]:
        """Return tensors (B, C, H, W) of `size` images each. The last may have fewer."""
        ...
