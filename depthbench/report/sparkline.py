"""Small drawings of an error against depth, for a row of a table."""

from collections.abc import Iterable, Sequence

WIDTH, HEIGHT, MARGIN = 96, 28, 4  # pixels


def sparkline(depths: Iterable[int], errors: Iterable[float], twin: Iterable[float] = ()) -> str:
    """Return an SVG of the mean error (0 to 100 %) at each depth; `twin`: those of a network behind it,
    at the same depths; empty if there is none."""
    depths, errors, twin = list(depths), list(errors), list(twin)
    if not depths:
        return ""
    label = ", ".join(f"depth {depth}: {error:.1f} %" for depth, error in zip(depths, errors, strict=True))
    low, high = HEIGHT - MARGIN, MARGIN
    parts = [f'<path class="bounds" d="M{MARGIN} {low}H{WIDTH - MARGIN}M{MARGIN} {high}H{WIDTH - MARGIN}"/>']
    if twin:
        parts.append(f'<polyline class="twin" points="{_path(twin)}"/>')
    parts.append(f'<polyline points="{_path(errors)}"/>')
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2"/>' for x, y in _points(errors)]
    return (
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{label}"><title>{label}</title>{"".join(parts)}</svg>'
    )


def _path(errors: Sequence[float]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in _points(errors))


def _points(errors: Sequence[float]) -> list[tuple[float, float]]:
    """Return the position of each error, evenly spaced by depth."""
    step = (WIDTH - 2 * MARGIN) / max(len(errors) - 1, 1)
    height = HEIGHT - 2 * MARGIN
    return [(MARGIN + step * i, MARGIN + height * (1 - error / 100)) for i, error in enumerate(errors)]
