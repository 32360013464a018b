"""How much memory there is, and how it is said."""

from pathlib import Path

import psutil

ON_GPU = 0.25  # the part of a GPU's free memory that images may fill: others need the rest


def available_memory() -> int:
    """Bytes that this process can have: what the machine has left, or all that a container allows (which
    psutil does not know)."""
    available = psutil.virtual_memory().available
    allowed = Path("/sys/fs/cgroup/memory.max")
    if allowed.exists() and (text := allowed.read_text().strip()).isdigit():
        available = min(available, int(text))
    return available


def in_bytes(size: float) -> str:
    """`115008` -> "115 kB", `1_500_000` -> "1.5 MB"."""
    units = iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while round(size) >= 1000:
        size, unit = size / 1000, next(units)
    return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
