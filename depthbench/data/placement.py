"""The choice of where images live: on the device if they fit, else on the host, streamed.

It is automatic (room.py) and stated, and made once for all runs that are executed together."""

import weakref
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from depthbench.data.files import Files
from depthbench.data.images import Images
from depthbench.data.mapped import Mapped
from depthbench.data.residency import should_stream
from depthbench.data.source import Resident, Stored, Streamed, stream_workers
from depthbench.data.tensors import as_tensor
from depthbench.machine.memory import available
from depthbench.machine.units import in_bytes

COPIED = 4096  # images of a file that are read at once on their way to the device


@dataclass(frozen=True, eq=False)
class Placed:
    """Images where they live. Pixels are on the device, or on the host where they are streamed; labels are on
    the device."""

    train: tuple[Stored, Tensor]
    sets: dict[str, tuple[Stored, Tensor]]  # "test" and, where there is one, "val"
    is_streamed: bool
    note: str  # what was chosen, in words

    def train_source(self) -> Resident | Streamed:
        """The training images as one run reads them. Runs share the pixels and nothing else."""
        return Streamed(*self.train) if self.is_streamed else Resident(*self.train)

    def train_set(self, chosen: np.ndarray | None = None) -> tuple[Stored, Tensor]:
        """The training images (x, y) to evaluate on: all, or those at the indices `chosen`."""
        if chosen is None:
            return self.train
        x, y = self.train
        there = torch.from_numpy(chosen)
        x = x[there.to(x.device)] if isinstance(x, Tensor) else x.choose(chosen)
        return x, y[there.to(y.device)]


def place(images: Images, device: torch.device, is_streamed: bool | None = None) -> Placed:
    """`images` for `device`: on it or streamed; None: as there is room now.

    The same images are placed once; they keep what was made of them for as long as they live."""
    key = (device, is_streamed)
    made = _PLACED.setdefault(images, {})
    if key not in made:
        if is_streamed is None:
            is_streamed = should_stream(images, str(device), available(str(device)))
        made[key] = _place(images, device, is_streamed)
    return made[key]


_PLACED: weakref.WeakKeyDictionary[Images, dict] = weakref.WeakKeyDictionary()


def _place(images: Images, device: torch.device, is_streamed: bool) -> Placed:
    arrays = {
        "train": (images.train_x, images.train_y),
        "test": (images.test_x, images.test_y),
    }
    if images.val_x is not None:
        arrays["val"] = (images.val_x, images.val_y)
    count, size = sum(len(x) for x in images.pixels), sum(x.nbytes for x in images.pixels)
    sets = {
        name: (_on_host(x, name) if is_streamed else _on_device(x, device), as_tensor(y).to(device))
        for name, (x, y) in arrays.items()
    }
    where = f"on {device}"
    if is_streamed:
        workers = stream_workers(images.train_x)
        where = f"streamed by {workers} worker process{'es' if workers > 1 else ''}"
    return Placed(sets.pop("train"), sets, is_streamed, f"{count:,} images ({in_bytes(size)}) {where}")


def _on_device(x: np.ndarray | Mapped, device: torch.device) -> Tensor:
    """All of x, without a copy where it is in the memory that `device` uses, or in a row in a file."""
    if not isinstance(x, Mapped):
        return as_tensor(x).to(device)
    if device.type == "cpu":
        return as_tensor(x[:])
    there = torch.empty(x.shape, dtype=torch.uint8, device=device)
    for ours, part in zip(there.split(COPIED), x.split(COPIED), strict=True):  # as it may exceed the memory
        ours.copy_(part)
    return there


def _on_host(x: np.ndarray | Mapped | Files, name: str) -> Stored:
    """x as it stays on the host. Training images in memory are copied to where other processes see them."""
    if not isinstance(x, np.ndarray):
        return x
    return as_tensor(x).clone().share_memory_() if name == "train" else as_tensor(x)
