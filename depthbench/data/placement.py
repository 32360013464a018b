"""Place images or sequences on the device if they fit; otherwise keep them on the host and stream them.

The choice is automatic (residency.py) and recorded. It is made once for all runs of a process."""

import weakref
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from depthbench.data.files import Files
from depthbench.data.images import HostPixels
from depthbench.data.labelled import Labelled
from depthbench.data.mapped import Mapped
from depthbench.data.residency import should_stream
from depthbench.data.source import Resident, Stored, Streamed, stream_workers
from depthbench.data.tensors import as_tensor, chosen
from depthbench.machine.memory import available
from depthbench.machine.units import in_bytes

COPY_CHUNK = 4096  # images of a file that are copied to the device at once


@dataclass(frozen=True, eq=False)
class PlacedImages:
    """Images or sequences, placed for training and evaluation.

    Pixels or tokens are on the device, or on the host if they are streamed. Labels are always on the
    device."""

    train: tuple[Stored, Tensor]
    sets: dict[str, tuple[Stored, Tensor]]
    """The sets to evaluate on: "test" and, if there is one, "val"."""
    is_streamed: bool
    note: str
    """A description of the choice, for example `1,797 images (115 kB) on cpu`."""

    def train_source(self) -> Resident | Streamed:
        """Return a source of training images for one run. Runs share only the pixels."""
        x, y = self.train
        if self.is_streamed:
            return Streamed(x, y)
        assert isinstance(x, Tensor)
        return Resident(x, y)

    def train_set(self, indices: np.ndarray | None = None) -> tuple[Stored, Tensor]:
        """Return the training images (x, y) to evaluate on: all, or those at `indices`."""
        if indices is None:
            return self.train
        x, y = self.train
        return chosen(x, indices), chosen(y, indices)


def place_images(images: Labelled, device: torch.device, is_streamed: bool | None = None) -> PlacedImages:
    """Place `images` for `device`: on it, or streamed to it. Without `is_streamed`, free memory decides.

    The same images are placed only once. The result lives as long as `images`."""
    key = (device, is_streamed)
    placed = _PLACED.setdefault(images, {})
    if key not in placed:
        if is_streamed is None:
            is_streamed = should_stream(images, str(device), available(str(device)))
        placed[key] = _place(images, device, is_streamed)
    return placed[key]


_PLACED: weakref.WeakKeyDictionary[Labelled, dict[tuple[torch.device, bool | None], PlacedImages]] = (
    weakref.WeakKeyDictionary()
)


def _place(images: Labelled, device: torch.device, is_streamed: bool) -> PlacedImages:
    arrays = {"train": (images.train_x, images.train_y), "test": (images.test_x, images.test_y)}
    if images.val_x is not None and images.val_y is not None:
        arrays["val"] = (images.val_x, images.val_y)
    sets = {
        name: (_on_host(x, name) if is_streamed else _on_device(x, device), as_tensor(y).to(device))
        for name, (x, y) in arrays.items()
    }
    where = f"on {device}"
    if is_streamed:
        workers = stream_workers(images.train_x)
        where = f"streamed by {workers} worker process{'es' if workers > 1 else ''}"
    count, size = sum(len(x) for x in images.inputs), sum(x.nbytes for x in images.inputs)
    return PlacedImages(
        sets.pop("train"), sets, is_streamed, f"{count:,} {images.noun} ({in_bytes(size)}) {where}"
    )


def _on_device(x: HostPixels, device: torch.device) -> Tensor:
    """Return x on `device`. On a CPU, arrays and consecutive rows of a file are not copied."""
    assert not isinstance(x, Files)  # always streamed
    if not isinstance(x, Mapped):
        return as_tensor(x).to(device)
    if device.type == "cpu":
        return as_tensor(x[:])
    copy = torch.empty(x.shape, dtype=torch.uint8, device=device)
    for target, chunk in zip(copy.split(COPY_CHUNK), x.split(COPY_CHUNK), strict=True):
        target.copy_(chunk)  # in chunks, because the file may exceed the memory of the host
    return copy


def _on_host(x: HostPixels, name: str) -> Stored:
    """Return x for the host. Training images in memory are copied to memory that processes share."""
    if not isinstance(x, np.ndarray):
        return x
    return as_tensor(x).clone().share_memory_() if name == "train" else as_tensor(x)
