"""Counts, bytes and seconds as text."""


def in_count(number: float) -> str:
    """Format a count: `640` as "640", `48_544` as "48.5 k", `41_000_000` as "41.0 M"."""
    units = iter(("", " k", " M", " G", " T"))
    unit = next(units)
    while round(number, 1) >= 1000 and unit != " T":
        number, unit = number / 1000, next(units)
    return f"{number:.1f}{unit}" if unit else f"{number:.0f}"


def in_bytes(size: float) -> str:
    """Format a number of bytes: `115008` as "115 kB", `1_500_000` as "1.5 MB"."""
    units = iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while round(size) >= 1000:
        size, unit = size / 1000, next(units)
    return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"


def duration(seconds: float) -> str:
    """Format a number of seconds: `75` as "1 min 15 s"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
