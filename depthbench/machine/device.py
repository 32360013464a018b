"""Devices: choosing one and waiting for one. Importing this module does not import torch."""

import contextlib
import ctypes
from pathlib import Path
from typing import TYPE_CHECKING

from depthbench.errors import BadInput

if TYPE_CHECKING:
    import torch


def resolve_device(device: str) -> str:
    """Return the name of a usable device: `auto` becomes `cuda:0` if torch finds a GPU, else `cpu`.

    Raises BadInput if `device` is not a known name or cannot be used on this machine."""
    if device == "cpu" or (device == "auto" and not _has_gpu_driver()):
        return "cpu"
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cuda", "mps") or (index and (kind != "cuda" or not index.isdigit())):
        raise BadInput(f"--device {device}: use auto, cpu, cuda, cuda:0, cuda:1, ... or mps")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "auto":
        return "cuda:0" if count else "cpu"
    if kind == "mps":
        if not torch.backends.mps.is_available():
            raise BadInput("--device mps: torch finds no Apple GPU on this machine; use --device cpu")
        return device
    if int(index or 0) >= count:
        devices = f"{count} CUDA device{'s'[: count > 1]}" if count else "no CUDA device"
        raise BadInput(f"--device {device}: torch {torch.__version__} finds {devices}; use --device cpu")
    return f"cuda:{index or 0}"


def _has_gpu_driver() -> bool:
    """Return whether torch may find a CUDA or ROCm device. Importing torch to be sure takes a second."""
    with contextlib.suppress(OSError):
        ctypes.CDLL("libcuda.so.1")
        return True
    return Path("/dev/kfd").exists()


def wait_for(device: "torch.device") -> None:
    """Wait until `device` has finished all queued work. A CPU has no queue."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
