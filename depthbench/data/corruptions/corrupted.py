"""Images under a corruption, made batch by batch."""

from collections.abc import Iterable, Iterator

import numpy as np
from torch import Tensor

from depthbench.data.corruptions import CORRUPTIONS
from depthbench.data.pixels import Pixels
from depthbench.data.tensors import chosen


class Corrupted:
    """The images `x` (N, C, H, W) uint8 under the corruption `name`.

    What is drawn for an image depends only on its index in the set and on the corruption. Every network and
    seed therefore sees the same images, whatever the batch size. Images are made on the host, because a GPU
    rounds differently: with TF32 by one grey level."""

    def __init__(
        self, x: Pixels, name: str, strength: float, white: int, *, indices: np.ndarray | None = None
    ):
        self.x, self.name, self.strength, self.white = x, name, strength, white
        self.indices = indices  # of the images of x in the whole set, (N,); None if x is the whole set
        self.corrupt = CORRUPTIONS[name].load()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.x.shape

    def choose(self, indices: np.ndarray) -> "Corrupted":
        """Return the images at `indices`, corrupted as they are in this set."""
        own = indices if self.indices is None else self.indices[indices]
        return Corrupted(chosen(self.x, indices), self.name, self.strength, self.white, indices=own)

    def split(self, size: int, /) -> Iterator[Tensor]:
        """Yield tensors (B, C, H, W) of `size` corrupted images each. The last may have fewer."""
        first = 0
        for batch in self.x.split(size):
            indices: Iterable[int] = range(first, first + len(batch))
            if self.indices is not None:
                indices = self.indices[first : first + len(batch)].tolist()
            generators = [np.random.default_rng([*self.name.encode(), index]) for index in indices]
            yield self.corrupt(batch.cpu(), generators, self.strength, self.white)
            first += len(batch)
