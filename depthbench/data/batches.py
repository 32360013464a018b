"""Batches and augmentation, on the device, as one stream that a seed decides.

Shapes: B batch, C channels, H W pixels. The order, and the crops and flips, are drawn on the CPU, each
from a generator of its own, so that twins with one seed see the same images whatever their device, and a
hash of what was drawn proves it."""

import hashlib
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from depthbench.seeds import derived


class Scaling:
    """uint8 pixels -> float, as the training set says.

    channel: minus the channel's mean, over its standard deviation. pixel: minus each pixel's own mean (He et
    al. 2015, sec. 4.2), over the standard deviation of all that remains. none: 0 to 1."""

    def __init__(self, train_x: np.ndarray, normalisation: str, device: torch.device):
        c, h, w = train_x.shape[1:]
        if normalisation == "none":
            mean, std = np.zeros((c, 1, 1)), np.full((c, 1, 1), max(1, int(train_x.max())))
        else:
            axes = (0, 2, 3) if normalisation == "channel" else (0,)
            count = len(train_x) * (h * w if normalisation == "channel" else 1)
            total, squares = np.zeros(train_x.shape[1:]), np.zeros(train_x.shape[1:])
            for part in np.array_split(train_x, max(1, len(train_x) // 4096)):  # few floats at a time
                total += part.sum(0, dtype=np.float64)
                squares += np.square(part, dtype=np.float32).sum(0, dtype=np.float64)
            if normalisation == "channel":
                total, squares = (a.sum((1, 2), keepdims=True) for a in (total, squares))
            mean = total / count
            variance = squares / count - mean**2
            if len(axes) == 1:
                variance = variance.mean(keepdims=True)
            std = np.sqrt(np.maximum(variance, 0))
            std[std == 0] = 1.0  # a constant channel stays at zero
        self.mean, self.scale = (torch.tensor(a, dtype=torch.float32, device=device) for a in (mean, 1 / std))

    def __call__(self, x: Tensor) -> Tensor:  # (B, C, H, W) uint8
        return (x.float() - self.mean) * self.scale  # (B, C, H, W) float32


class Batches:
    """An endless stream of augmented training batches.

    Every image comes once in each pass; a batch may span two passes, so that all have one size.
    `take()` gives the next (x, y); `hash` is a sha256 over all that was drawn so far."""

    def __init__(
        self, x: Tensor, y: Tensor, scaling: Scaling, *, batch_size: int, seed: int, pad: int, flip: bool
    ):
        self.x, self.y, self.scaling = x, y, scaling  # (N, C, H, W) uint8, (N,) int64
        self.batch_size, self.pad, self.flip = batch_size, pad, flip
        self.order, self.augmentation = (
            torch.Generator().manual_seed(derived(seed, purpose)) for purpose in ("order", "augmentation")
        )
        self.waiting = torch.empty(0, dtype=torch.int64)
        self.hash = ""

    def take(self) -> tuple[Tensor, Tensor]:
        """The next batch: x (B, C, H, W) float32 channels_last, y (B,) int64."""
        indices, top, left, mirrored = self._to_device(self._draw())
        x = self.scaling(self.x[indices])  # padding comes after scaling: it has the mean's colour
        if self.pad:
            x = self._crop(x, top, left, mirrored.bool())
        elif self.flip:
            x = torch.where(mirrored.bool()[:, None, None, None], x.flip(3), x)
        return x.contiguous(memory_format=torch.channels_last), self.y[indices]

    def _to_device(self, drawn: tuple[Tensor, ...]) -> Tensor:
        """All that was drawn (4, B) int64 in one copy, which a GPU does not wait for."""
        together = torch.stack([part.long() for part in drawn])
        if self.x.device.type == "cuda":
            together = together.pin_memory()
        return together.to(self.x.device, non_blocking=True)

    def _draw(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the next batch is: indices (B,), crop corners (B,) and (B,), mirrored (B,)."""
        while len(self.waiting) < self.batch_size:
            order = torch.randperm(len(self.x), generator=self.order)
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
        return indices, corner[0], corner[1], mirrored

    def _crop(self, x: Tensor, top: Tensor, left: Tensor, mirrored: Tensor) -> Tensor:
        """Pad x (B, C, H, W), cut H x W at each image's own corner, and mirror some."""
        b, _, h, w = x.shape
        x = F.pad(x, (self.pad,) * 4)
        rows = top[:, None] + torch.arange(h, device=x.device)  # (B, H)
        columns = torch.arange(w, device=x.device).expand(b, w)  # (B, W)
        columns = left[:, None] + torch.where(mirrored[:, None], w - 1 - columns, columns)
        image = torch.arange(b, device=x.device)[:, None, None]
        x = x[image, :, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
        return x.permute(0, 3, 1, 2)  # (B, C, H, W), already channels_last in memory

    def state(self) -> dict[str, Any]:
        """All that decides what comes next."""
        return {
            "order": self.order.get_state(),
            "augmentation": self.augmentation.get_state(),
            "waiting": self.waiting.clone(),
            "hash": self.hash,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.order.set_state(state["order"])
        self.augmentation.set_state(state["augmentation"])
        self.waiting, self.hash = state["waiting"], state["hash"]
