"""Random choices for each batch: which images, how they are cropped, which are mirrored.

Order and augmentation are drawn on the CPU, each from its own generator. Twins with the same seed therefore
see the same images on any device, and a hash of the draws proves it. B is the batch size."""

import hashlib
from typing import Any, NamedTuple

import torch
from torch import Tensor

from depthbench.data.colour import STD
from depthbench.data.files import POSITIONS, Crops
from depthbench.seeds import derived


class Drawn(NamedTuple):
    """The random choices for a batch."""

    numbers: Tensor  # (4, B) int64: index, top and left of the crop of a padded image, mirrored (0 or 1)
    colour: Tensor | None  # (B, C) float32, of colour augmentation
    crops: Crops | None  # of scale augmentation

    def part(self, part: slice) -> "Drawn":
        """Return the random choices for one part of the batch."""
        colour = None if self.colour is None else self.colour[part]
        crops = None if self.crops is None else Crops(*(column[part] for column in self.crops))
        return Drawn(self.numbers[:, part], colour, crops)


class Draws:
    """An endless stream of random choices for batches of `count` images.

    Every image comes once in each pass. A batch may span two passes, so that all batches have the same size.
    pad: the largest shift of a crop in each direction, in pixels. sides: the range of scale augmentation: the
    lowest and highest length of the shorter side, in pixels. colours: the number of channels for colour
    augmentation, or 0.
    `hash` is a sha256 over everything drawn so far."""

    def __init__(
        self,
        count: int,
        *,
        batch_size: int,
        seed: int,
        pad: int,
        flip: bool,
        sides: tuple[int, int] | None = None,
        colours: int = 0,
    ):
        self.count, self.batch_size, self.pad, self.flip = count, batch_size, pad, flip
        self.sides, self.colours = sides, colours
        self.order, self.augmentation = (
            torch.Generator().manual_seed(derived(seed, purpose)) for purpose in ("order", "augmentation")
        )
        self.waiting = torch.empty(0, dtype=torch.int64)  # never changed in place: states refer to it
        self.hash = ""

    def next(self) -> Drawn:
        """Draw the next batch."""
        while len(self.waiting) < self.batch_size:
            order = torch.randperm(self.count, generator=self.order)
            self.waiting = torch.cat([self.waiting, order])
        indices, self.waiting = self.waiting.split([self.batch_size, len(self.waiting) - self.batch_size])
        corner = torch.zeros(2, self.batch_size, dtype=torch.int64)
        mirrored = torch.zeros(self.batch_size, dtype=torch.bool)
        colour = crops = None
        if self.pad:
            corner = self._integers(0, 2 * self.pad, 2)
        if self.flip:
            mirrored = torch.rand(self.batch_size, generator=self.augmentation) < 0.5
        hashed = [indices, corner, mirrored]
        if self.sides is not None:
            (side,), positions = self._integers(*self.sides, 1), self._integers(0, POSITIONS - 1, 2)
            crops = Crops(*(tensor.numpy() for tensor in (indices, side, *positions)))
            hashed += [side, positions]
        if self.colours:
            shape = (self.batch_size, self.colours)
            colour = STD * torch.randn(shape, generator=self.augmentation)
            hashed.append(colour)
        digest = hashlib.sha256(self.hash.encode())
        for tensor in hashed:
            digest.update(tensor.numpy().tobytes())
        self.hash = digest.hexdigest()
        return Drawn(torch.stack([indices, *corner, mirrored.long()]), colour, crops)

    def _integers(self, low: int, high: int, rows: int) -> Tensor:
        """Draw (rows, B) integers from `low` to `high`, both included."""
        return torch.randint(low, high + 1, (rows, self.batch_size), generator=self.augmentation)

    def state(self) -> dict[str, Any]:
        """Return what determines the next draw. `waiting` shares its memory with this object."""
        return {
            "order": self.order.get_state(),
            "augmentation": self.augmentation.get_state(),
            "waiting": self.waiting,
            "hash": self.hash,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to `state`."""
        self.order.set_state(state["order"])
        self.augmentation.set_state(state["augmentation"])
        self.waiting, self.hash = state["waiting"], state["hash"]
