"""What each batch is: which images, where they are cut, which are mirrored. A seed decides it all.

Order and augmentation are drawn on the CPU, each from a generator of its own, so that twins with one seed see
the same images whatever their device, and a hash of what was drawn proves it. B is the batch size."""

import hashlib
from typing import Any, NamedTuple

import torch
from torch import Tensor

from depthbench.data.colour import STD
from depthbench.data.files import PLACES, Cuts
from depthbench.seeds import derived


class Drawn(NamedTuple):
    """What was drawn for a batch."""

    numbers: Tensor  # (4, B) int64: index, top and left of the crop of a padded image, mirrored (0 or 1)
    colour: Tensor | None  # (B, C) float32, of colour augmentation
    cuts: Cuts | None  # of scale augmentation


class Draws:
    """An endless stream of draws from `count` images.

    Every image comes once in each pass; a batch may span two passes, so that all have one size. pad: pixels
    that a crop may be shifted by, each way. sides: the shortest and longest shorter side of scale
    augmentation. colours: channels that colour augmentation draws for. `hash` is a sha256 over all that was
    drawn so far."""

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
        self.waiting = torch.empty(0, dtype=torch.int64)  # never changed in place: a state holds it
        self.hash = ""

    def next(self) -> Drawn:
        """What the next batch is."""
        while len(self.waiting) < self.batch_size:
            order = torch.randperm(self.count, generator=self.order)
            self.waiting = torch.cat([self.waiting, order])
        indices, self.waiting = self.waiting.split([self.batch_size, len(self.waiting) - self.batch_size])
        corner = torch.zeros(2, self.batch_size, dtype=torch.int64)
        mirrored = torch.zeros(self.batch_size, dtype=torch.bool)
        colour = cuts = None
        if self.pad:
            corner = self._integers(0, 2 * self.pad, 2)
        if self.flip:
            mirrored = torch.rand(self.batch_size, generator=self.augmentation) < 0.5
        told = [indices, corner, mirrored]
        if self.sides is not None:
            (side,), places = self._integers(*self.sides, 1), self._integers(0, PLACES - 1, 2)
            cuts = Cuts(*(part.numpy() for part in (indices, side, *places)))
            told += [side, places]
        if self.colours:
            shape = (self.batch_size, self.colours)
            colour = STD * torch.randn(shape, generator=self.augmentation)
            told.append(colour)
        digest = hashlib.sha256(self.hash.encode())
        for part in told:
            digest.update(part.numpy().tobytes())
        self.hash = digest.hexdigest()
        return Drawn(torch.stack([indices, *corner, mirrored.long()]), colour, cuts)

    def _integers(self, low: int, high: int, rows: int) -> Tensor:
        """(rows, B), from `low` to `high`, both included."""
        return torch.randint(low, high + 1, (rows, self.batch_size), generator=self.augmentation)

    def state(self) -> dict[str, Any]:
        """All that decides what comes next. `waiting` shares its memory with the stream's."""
        return {
            "order": self.order.get_state(),
            "augmentation": self.augmentation.get_state(),
            "waiting": self.waiting,
            "hash": self.hash,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.order.set_state(state["order"])
        self.augmentation.set_state(state["augmentation"])
        self.waiting, self.hash = state["waiting"], state["hash"]
