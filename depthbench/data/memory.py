"""How much memory there is, and how it is said."""

import math
from pathlib import Path

import psutil

# The part of the free memory that images may fill: of a GPU's, where activations and runs that start later
# need the rest; and of the machine's, those of a file that is used in place.
ON_GPU, IN_PLACE = 0.25, 0.5


def available_memory() -> int:
    """Bytes that this process can have: what the machine has left, or all that a container allows (which
    psutil does not know)."""
    available = psutil.virtual_memory().available
    allowed = Path("/sys/fs/cgroup/memory.max")
    if allowed.exists() and (text := allowed.read_text().strip()).isdigit():
        available = min(available, int(text))
    return available


def room_for_images(are_in_file: bool, device: str, free: int) -> float:
    """Bytes of images that may live on `device`, of whose memory so many are free; more are streamed. Those
    that are in the machine's memory already have room there."""
    if device.startswith("cuda"):
        return ON_GPU * free
    return IN_PLACE * free if are_in_file else math.inf


def in_bytes(size: float) -> str:
    """`115008` -> "115 kB", `1_500_000` -> "1.5 MB"."""
    units = iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while round(size) >= 1000:
        size, unit = size / 1000, next(units)
    return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
