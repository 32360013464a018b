"""The choice of where images live: on the device if they fit, else on the host, streamed.

It is automatic and stated, and made once for all runs in a process. Images that are decoded as they are read
are always streamed."""

import weakref
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from depthbench.data.files import Files
from depthbench.data.images import Images
from depthbench.data.mapped import Mapped
from depthbench.data.memory import available_memory, in_bytes, room_for_images
from depthbench.data.source import Resident, Streamed, stream_workers
from depthbench.data.tensors import as_tensor

COPIED = 4096  # images of a file that are read at once on their way to the device

Pixels = Tensor | Mapped | Files  # (N, C, H, W) uint8; `split(size)` gives tensors of all three


@dataclass(frozen=True, eq=False)
class Placed:
    """Images where they live. Pixels are on the device, or on the host where they are streamed; labels are on
    the device."""

    train: tuple[Pixels, Tensor]
    sets: dict[str, tuple[Pixels, Tensor]]  # "test_error" and, where there is one, "val_error"
    is_streamed: bool
    note: str  # what was chosen, in words

    def train_source(self) -> Resident | Streamed:
        """The training images as one run reads them. Runs share the pixels and nothing else."""
        return Streamed(*self.train) if self.is_streamed else Resident(*self.train)

    def train_set(self, chosen: np.ndarray | None = None) -> tuple[Pixels, Tensor]:
        """The training images (x, y) to evaluate on: all, or those at the indices `chosen`."""
        if chosen is None:
            return self.train
        x, y = self.train
        there = torch.from_numpy(chosen)
        x = x[there.to(x.device)] if isinstance(x, Tensor) else x.choose(chosen)
        return x, y[there.to(y.device)]


def place(images: Images, device: torch.device, limit_bytes: int | None = None) -> Placed:
    """`images` for `device`: on it where they have at most `limit_bytes`, else streamed.

    The limit, unless given: on a GPU, a quarter of its free memory. Elsewhere there is one only where the
    training images are in a file: half of the available memory. The same images are placed once; they keep
    what was made of them for as long as they live."""
    key = (device, limit_bytes)
    made = _PLACED.setdefault(images, {})
    if key not in made:
        made[key] = _place(images, device, limit_bytes)
    return made[key]


_PLACED: weakref.WeakKeyDictionary[Images, dict] = weakref.WeakKeyDictionary()


def _place(images: Images, device: torch.device, limit_bytes: int | None) -> Placed:
    arrays = {
        "train": (images.train_x, images.train_y),
        "test_error": (images.test_x, images.test_y),
    }
    if images.val_x is not None:
        arrays["val_error"] = (images.val_x, images.val_y)
    count = sum(len(x) for x, _ in arrays.values())
    size = sum(x.nbytes for x, _ in arrays.values())
    train_x = arrays["train"][0]
    if limit_bytes is None:
        limit_bytes = _limit(train_x, device)
    is_streamed = isinstance(train_x, Files) or size > limit_bytes
    sets = {
        name: (_on_host(x, name) if is_streamed else _on_device(x, device), as_tensor(y).to(device))
        for name, (x, y) in arrays.items()
    }
    where = f"on {device}"
    if is_streamed:
        workers = stream_workers(train_x)
        where = f"streamed by {workers} worker process{'es' if workers > 1 else ''}"
    return Placed(sets.pop("train"), sets, is_streamed, f"{count:,} images ({in_bytes(size)}) {where}")


def _limit(train_x: np.ndarray | Mapped | Files, device: torch.device) -> float:
    """Bytes that may live on the device."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
    return room_for_images(isinstance(train_x, Mapped), device.type, free)


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


def _on_host(x: np.ndarray | Mapped | Files, name: str) -> Pixels:
    """x as it stays on the host. Training images in memory are copied to where other processes see them."""
    if not isinstance(x, np.ndarray):
        return x
    return as_tensor(x).clone().share_memory_() if name == "train" else as_tensor(x)
