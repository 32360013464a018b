"""Batches and augmentation, on the device, as one stream that a seed decides.

Shapes: B batch, C channels, H W pixels."""

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from depthbench.data.colour import Colour
from depthbench.data.draws import Drawn, Draws
from depthbench.data.mapped import Mapped
from depthbench.data.source import Resident, Streamed, Wanted
from depthbench.data.statistics import parts


class Scaling:
    """uint8 pixels -> float, as the training set says.

    channel: minus the channel's mean, over its standard deviation. pixel: minus each pixel's own mean (He et
    al. 2015, sec. 4.2), over the standard deviation of all that remains. none: 0 to 1."""

    def __init__(self, train_x: np.ndarray | Mapped, normalisation: str, device: torch.device):
        c, h, w = train_x.shape[1:]
        if normalisation == "none":
            largest = max(int(part.max()) for part in parts(train_x))
            mean, std = np.zeros((c, 1, 1)), np.full((c, 1, 1), max(1, largest))
        else:
            axes = (0, 2, 3) if normalisation == "channel" else (0,)
            count = len(train_x) * (h * w if normalisation == "channel" else 1)
            total, squares = np.zeros(train_x.shape[1:]), np.zeros(train_x.shape[1:])
            for part in parts(train_x):
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


class Batch(NamedTuple):
    """What the host says of a batch; `Batches.images` makes the images of it."""

    numbers: Tensor  # (4, B) int64 on the device: index, top, left, mirrored
    pixels: Tensor | None  # (B, C, H, W) uint8 on the device where images are streamed
    colour: Tensor | None = None  # (B, C) float32 on the device where colours are augmented


class Batches:
    """An endless stream of augmented training batches of `source` (see source.py, draws.py).

    pad: images are padded by so many pixels and cut. sides: instead, the source gives crops of images scaled
    to a shorter side between these two; it has `Files`. flip, colour: mirror some, and add to their colours.
    `take()` is the host's part of the next batch, and `images(batch)` the device's. `hash` is a sha256 over
    all that was taken so far. `close()` ends the processes that a stream reads with."""

    def __init__(
        self,
        source: Resident | Streamed,
        scaling: Scaling,
        *,
        batch_size: int,
        seed: int,
        pad: int,
        flip: bool,
        sides: tuple[int, int] | None = None,
        colour: Colour | None = None,
    ):
        self.source, self.scaling, self.flip, self.colour = source, scaling, flip, colour
        self.pad = pad if sides is None else 0
        self.draws = Draws(
            len(self),
            batch_size=batch_size,
            seed=seed,
            pad=self.pad,
            flip=flip,
            sides=sides,
            colours=0 if colour is None else source.x.shape[1],
        )
        self._begin()

    def _begin(self) -> None:
        self._state = self.draws.state()  # as it was when the last batch taken had been drawn
        self._ahead: deque[tuple[Drawn, dict[str, Any]]] = deque()  # not taken yet
        self.source.begin(_drawing(self.draws, self._ahead))

    def __len__(self) -> int:
        """How many images a pass has."""
        return len(self.source.y)

    @property
    def hash(self) -> str:
        return self._state["hash"]

    def take(self) -> Batch:
        """The next batch, on its way to the device. A GPU is not waited for."""
        pixels = self.source.next()
        (numbers, colour, _), self._state = self._ahead.popleft()
        device = self.source.y.device
        if pixels is not None:
            pixels = pixels.to(device, non_blocking=True)  # pinned by the stream
        return Batch(_to(device, numbers), pixels, None if colour is None else _to(device, colour))

    def images(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """x (B, C, H, W) float32 channels_last and y (B,) int64 of `batch`.

        On the device alone, with no value that the host must know, so that a CUDA graph can hold it."""
        index, top, left, mirrored = batch.numbers
        pixels = self.source.x[index] if batch.pixels is None else batch.pixels
        x = self.scaling(pixels)  # padding comes after scaling: it has the mean's colour
        if batch.colour is not None:
            x = x + self.colour(batch.colour) * self.scaling.scale
        if self.pad:
            x = self._crop(x, top, left, mirrored.bool())
        elif self.flip:
            x = torch.where(mirrored.bool()[:, None, None, None], x.flip(3), x)
        return x.contiguous(memory_format=torch.channels_last), self.source.y[index]

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
        """All that decides what is taken next, whatever has been drawn and read ahead."""
        waiting = self._state["waiting"].clone()  # without the whole pass that it is a part of
        return self._state | {"waiting": waiting}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to `state`. What was read ahead is thrown away."""
        self.draws.restore(state)
        self._begin()

    def close(self) -> None:
        """End the processes of a stream. What is taken next does not change: they would start again."""
        self.source.close()
        self.restore(self._state)


def _to(device: torch.device, numbers: Tensor) -> Tensor:
    """`numbers`, on their way to the device."""
    return (numbers.pin_memory() if device.type == "cuda" else numbers).to(device, non_blocking=True)


def _drawing(draws: Draws, ahead: deque[tuple[Drawn, dict[str, Any]]]) -> Iterator[Wanted]:
    """What is wanted of batch after batch; all that was drawn, and the state after it, goes to `ahead`.

    Not a method: a stream holds it, and must not hold the `Batches` that it belongs to, or neither would end
    when it is let go."""
    while True:
        drawn = draws.next()
        ahead.append((drawn, draws.state()))
        yield drawn.numbers[0].numpy() if drawn.cuts is None else drawn.cuts
