"""Free memory."""

import contextlib
import ctypes
from pathlib import Path

import psutil


def available(device: str) -> int:
    """Return the bytes that this process can still use on `device`.

    On a GPU, this is its free memory. Elsewhere, it is the machine's free memory, but at most the limit of
    the container, which psutil does not know."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        free = min(free, int(text))
    return free


def release() -> None:
    """Return freed memory of this process to the system, if the C library can do this."""
    with contextlib.suppress(OSError, AttributeError):  # not the C library of Linux
        ctypes.CDLL(None).malloc_trim(0)
