"""How much memory there is, and how it is said."""

import os
from pathlib import Path


def available_memory() -> int:
    """Bytes that this process can have: what the machine has left, or all that a container allows."""
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    about = Path("/proc/meminfo")
    if about.exists():
        lines = dict(line.split(":") for line in about.read_text().splitlines())
        available = 1024 * int(lines["MemAvailable"].split()[0])
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
