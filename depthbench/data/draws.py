"""What each batch is: which images, where they are cut, which are mirrored. A seed decides it all.

Order and augmentation are drawn on the CPU, each from a generator of its own, so that twins with one seed see
the same images whatever their device, and a hash of what was drawn proves it. B is the batch size."""

import hashlib
from typing import Any

import torch
from torch import Tensor

from depthbench.seeds import derived


class Draws:
    """An endless stream of draws from `count` images.

    Every image comes once in each pass; a batch may span two passes, so that all have one size. `hash` is a
    sha256 over all that was drawn so far."""

    def __init__(self, count: int, *, batch_size: int, seed: int, pad: int, flip: bool):
        self.count, self.batch_size, self.pad, self.flip = count, batch_size, pad, flip
        self.order, self.augmentation = (
            torch.Generator().manual_seed(derived(seed, purpose)) for purpose in ("order", "augmentation")
        )
        self.waiting = torch.empty(0, dtype=torch.int64)  # never changed in place: a state holds it
        self.hash = ""

    def next(self) -> Tensor:
        """(4, B) int64: index, top and left of the crop, mirrored (0 or 1)."""
        while len(self.waiting) < self.batch_size:
            order = torch.randperm(self.count, generator=self.order)
            self.waiting = torch.cat([self.waiting, order])
        indices, self.waiting = self.waiting.split([self.batch_size, len(self.waiting) - self.batch_size])
        corner = torch.zeros(2, self.batch_size, dtype=torch.int64)
        mirrored = torch.zeros(self.batch_size, dtype=torch.bool)
        if self.pad:
            corner = torch.randint(0, 2 * self.pad + 1, (2, self.batch_size), generator=self.augmentation)
        if self.flip:
            mirrored = torch.rand(self.batch_size, generator=self.augmentation) < 0.5
        digest = hashlib.sha256(self.hash.encode())
        for drawn in (indices, corner, mirrored):
            digest.update(drawn.numpy().tobytes())
        self.hash = digest.hexdigest()
        return torch.stack([indices, corner[0], corner[1], mirrored.long()])

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
