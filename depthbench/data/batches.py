"""An endless stream of augmented training batches, made on the device and determined by a seed.

Shapes: B batch, C channels, H W pixels."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from depthbench.data.colour import Colour
from depthbench.data.draws import Drawn, Draws
from depthbench.data.mapped import Mapped
from depthbench.data.source import Request, Resident, Streamed
from depthbench.data.statistics import in_chunks
from depthbench.networks.task import Task

CHANNELS = 64  # of a usual network at full resolution; logits of more classes take more memory


class Scaling:
    """Scaling of uint8 pixels to floats by statistics of the training set.

    channel: subtract the mean of the channel and divide by its standard deviation. pixel: subtract the mean
    of each pixel (He et al. 2015, sec. 4.2) and divide by the standard deviation of all differences. none:
    divide by the highest value of the training set, to the range 0 to 1."""

    def __init__(self, train_x: np.ndarray | Mapped, normalisation: str, device: torch.device):
        c, h, w = train_x.shape[1:]
        if normalisation == "none":
            largest = max(int(chunk.max()) for chunk in in_chunks(train_x))
            mean, std = np.zeros((c, 1, 1)), np.full((c, 1, 1), max(1, largest))
        else:
            axes = (0, 2, 3) if normalisation == "channel" else (0,)
            count = len(train_x) * (h * w if normalisation == "channel" else 1)
            total, squares = np.zeros(train_x.shape[1:]), np.zeros(train_x.shape[1:])
            for chunk in in_chunks(train_x):
                total += chunk.sum(0, dtype=np.float64)
                squares += np.square(chunk, dtype=np.float32).sum(0, dtype=np.float64)
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

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors that make inputs from pixels: `mean` and `scale`."""
        return {"mean": self.mean, "scale": self.scale}

    def arrange(self, x: Tensor) -> Tensor:
        """Return images (B, C, H, W) in the order in memory in which networks read them."""
        return x.contiguous(memory_format=torch.channels_last)

    def size(self, x_shape: Sequence[int]) -> int:
        """Return the number of pixels of an image, which limits how many are evaluated at once."""
        return int(x_shape[-2] * x_shape[-1])


class Tokens:
    """Makes inputs of a network from tokens, as `Scaling` does from pixels."""

    def __init__(self, task: Task):
        self.task = task

    def __call__(self, x: Tensor) -> Tensor:  # (B, T) of any type
        return x.long()

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Empty, because networks read tokens as they are."""
        return {}

    def arrange(self, x: Tensor) -> Tensor:
        """Return x itself."""
        return x

    def size(self, x_shape: Sequence[int]) -> int:
        """Return the number of pixels whose evaluation takes about as much memory as that of a sequence."""
        logits = self.task.classes // CHANNELS if self.task.is_next else 0
        return int(x_shape[-1]) * max(1, logits)


Inputs = Scaling | Tokens
"""What makes inputs of a network from the stored pixels or tokens."""


class Batch(NamedTuple):
    """The random choices for a batch, and its pixels if they are streamed.

    `Batches.images` makes the images."""

    numbers: Tensor  # (4, B) int64 on the device: index, top, left, mirrored
    pixels: Tensor | None  # (B, C, H, W) uint8 on the device, if images are streamed
    colour: Tensor | None = None  # (B, C) float32 on the device, if colours are augmented


class Batches:
    """An endless stream of augmented training batches of `source` (see source.py, draws.py).

    pad: pad images by this many pixels and crop them at random. sides: instead, scale the shorter side of
    each image to a random length between these two and crop it; the source must hold `Files`. flip: mirror
    images at random. colour: shift their colours at random. part: make only these images of each batch. All
    are still drawn, so that processes with different parts share one stream.

    `take()` does the host's part of the next batch, and `images(batch)` the device's part. `hash` is a sha256
    over everything taken so far. `close()` ends the worker processes of a stream."""

    def __init__(
        self,
        source: Resident | Streamed,
        scaling: Inputs,
        *,
        batch_size: int,
        seed: int,
        pad: int,
        flip: bool,
        sides: tuple[int, int] | None = None,
        colour: Colour | None = None,
        part: slice | None = None,
    ):
        self.source, self.scaling, self.flip, self.colour = source, scaling, flip, colour
        self.pad, self.part = pad if sides is None else 0, part
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
        self._state = self.draws.state()  # right after the last taken batch was drawn
        self._drawn_ahead: deque[tuple[Drawn, dict[str, Any]]] = deque()  # not taken yet
        self.source.begin(_requests(self.draws, self._drawn_ahead, self.part))

    def __len__(self) -> int:
        """The number of images in one pass."""
        return len(self.source.y)

    @property
    def hash(self) -> str:
        return self._state["hash"]

    def take(self) -> Batch:
        """Start to copy the next batch to the device, and return it. Does not wait for a GPU.

        Raises BadInput if a file cannot be read, and RuntimeError if a process that reads has died."""
        pixels = self.source.next()
        (numbers, colour, _), self._state = self._drawn_ahead.popleft()
        device = self.source.y.device
        if pixels is not None:
            pixels = pixels.to(device, non_blocking=True)  # pinned by the stream
        return Batch(_to(device, numbers), pixels, None if colour is None else _to(device, colour))

    def images(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return x and y of `batch`: images (B, C, H, W) float32 channels_last and their classes (B,) int64,
        or tokens (B, T) int64 and their classes (B,) or next tokens (B, T), int64.

        Runs on the device alone and needs no value on the host, so that a CUDA graph can contain it."""
        index, top, left, mirrored = batch.numbers
        pixels = batch.pixels
        if pixels is None:
            assert isinstance(self.source, Resident)
            pixels = self.source.x[index]
        x = self.scaling(pixels)  # before padding, so that the padding has the mean colour
        if self.colour is not None and batch.colour is not None:
            assert isinstance(self.scaling, Scaling)
            x = x + self.colour(batch.colour) * self.scaling.scale
        if self.pad:
            x = self._crop(x, top, left, mirrored.bool())
        elif self.flip:
            x = torch.where(mirrored.bool()[:, None, None, None], x.flip(3), x)
        return self.scaling.arrange(x), self.source.y[index].long()

    def _crop(self, x: Tensor, top: Tensor, left: Tensor, mirrored: Tensor) -> Tensor:
        """Pad x (B, C, H, W), crop each image to H x W at `top` and `left`, and mirror it if `mirrored`."""
        b, _, h, w = x.shape
        x = F.pad(x, (self.pad,) * 4)
        rows = top[:, None] + torch.arange(h, device=x.device)  # (B, H)
        columns = torch.arange(w, device=x.device).expand(b, w)  # (B, W)
        columns = left[:, None] + torch.where(mirrored[:, None], w - 1 - columns, columns)
        image = torch.arange(b, device=x.device)[:, None, None]
        x = x[image, :, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
        return x.permute(0, 3, 1, 2)  # (B, C, H, W), already channels_last in memory

    @property
    def position(self) -> dict[str, Any]:
        """The state as `restore` reads it. It shares memory with this object, but never changes."""
        return self._state

    def state(self) -> dict[str, Any]:
        """Return what determines the next batch, regardless of what has been drawn and read ahead."""
        waiting = self._state["waiting"].clone()  # a copy, without the rest of the pass
        return self._state | {"waiting": waiting}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to `state` and discard what was read ahead."""
        self.draws.restore(state)
        self._begin()

    def close(self) -> None:
        """End the worker processes of a stream. The next `take()` starts new ones, at the same batch."""
        self.source.close()
        self.restore(self._state)


def _to(device: torch.device, numbers: Tensor) -> Tensor:
    """Start to copy `numbers` to `device`, and return the copy."""
    return (numbers.pin_memory() if device.type == "cuda" else numbers).to(device, non_blocking=True)


def _requests(
    draws: Draws, drawn_ahead: deque[tuple[Drawn, dict[str, Any]]], part: slice | None
) -> Iterator[Request]:
    """Yield the request of each batch, or of this part of it. Appends what was drawn to `drawn_ahead`.

    Each entry includes the state after the whole batch was drawn.

    This is not a method, because a stream holds this generator. If it held the `Batches` too, the reference
    cycle would keep the worker processes alive."""
    while True:
        drawn = draws.next()
        if part is not None:
            drawn = drawn.part(part)
        drawn_ahead.append((drawn, draws.state()))
        yield drawn.numbers[0].numpy() if drawn.crops is None else drawn.crops
