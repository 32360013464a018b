"""How much memory there is, and how it is said."""

from pathlib import Path

import psutil


def available(device: str) -> int:
    """Bytes that this process can have on `device`: what a GPU has left; of the machine's memory what is
    left, or all that a container allows (which psutil does not know)."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    allowed = Path("/sys/fs/cgroup/memory.max")
    if allowed.exists() and (text := allowed.read_text().strip()).isdigit():
        free = min(free, int(text))
    return free
