"""Logarithmic scales of norms that may span 30 decades, and still resolve those around 1."""

from collections.abc import Callable, Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm, LogNorm, Normalize
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from depthbench.report.style import canvas, ticks
from depthbench.report.style.text import power_of_ten

RESOLVED = 3  # decades on each side of 1 that are drawn in full
FAR = 6  # if more decades follow on a side, they are compressed
ROOM = 1.5  # to the height of this many
MARGIN = 0.03  # of the height, above and below the values
Transform = Callable[[np.ndarray], np.ndarray]


class NormScale:
    """A scale of positive values between `low` and `high`: logarithmic, with both ends compressed if far.

    Clipping would hide the difference between a gradient of 1e-6 and one of 1e-24."""

    def __init__(self, values: Iterable[float]) -> None:
        known = np.asarray(list(values), float)
        known = known[np.isfinite(known) & (known > 0)]
        self.low, self.high = (float(known.min()), float(known.max())) if len(known) else (0.1, 1.0)
        if self.high <= self.low * 1.01:
            self.low, self.high = self.low / 1.5, self.high * 1.5
        self.below = -np.log10(self.low) - RESOLVED
        self.above = np.log10(self.high) - RESOLVED

    @property
    def is_compressed(self) -> bool:
        return max(self.below, self.above) > FAR

    @property
    def functions(self) -> tuple[Transform, Transform]:
        """The transform of values to heights in decades, and its inverse."""
        heights = [-RESOLVED - _room(self.below), -RESOLVED, RESOLVED, RESOLVED + _room(self.above)]
        logs = [-RESOLVED - max(self.below, 1), -RESOLVED, RESOLVED, RESOLVED + max(self.above, 1)]

        def forward(values: np.ndarray) -> np.ndarray:
            values = np.asarray(values, float)
            with np.errstate(divide="ignore", invalid="ignore"):
                log = np.log10(np.where(values > 0, values, np.nan))
            return _extended(log, logs, heights)

        def inverse(values: np.ndarray) -> np.ndarray:
            return 10 ** _extended(np.asarray(values, float), heights, logs)

        return forward, inverse

    def norm(self) -> Normalize:
        """Return the scale as one of colours."""
        if self.is_compressed:
            return FuncNorm(self.functions, self.low, self.high)
        return LogNorm(self.low, self.high)

    def apply(self, panels: Iterable[Axes]) -> None:
        """Scale and label the y axes of `panels`, which share it. Shade where the scale is compressed."""
        panels = list(panels)
        forward, inverse = self.functions
        ends = forward(np.array([self.low, self.high]))
        ends = ends + MARGIN * np.ptp(ends) * np.array([-1, 1])
        low, high = inverse(ends)
        if self.is_compressed:
            panels[0].set_yscale("function", functions=(forward, inverse))
        else:
            panels[0].set_yscale("log", nonpositive="mask")
        for axes in panels:
            axes.set_ylim(low, high)
            for far, start, end in self._shaded(low, high):
                if far:
                    axes.axhspan(start, end, color=canvas.GRID, alpha=0.6, linewidth=0, zorder=0)
        self.label(panels[0])

    def label(self, axes: Axes) -> None:
        """Set the ticks of a y axis that has this scale."""
        if not self.is_compressed:
            ticks.label_log(axes)
            return
        axis = axes.yaxis
        low, high = np.log10(self.low), np.log10(self.high)
        first = -RESOLVED if self.below > FAR else low
        last = RESOLVED if self.above > FAR else high
        exponents = list(range(int(np.ceil(first)), int(np.floor(last)) + 1))
        labelled = [e for e in exponents if e % RESOLVED == 0]
        if self.above > FAR:
            labelled.append(int(np.floor(high)))
        if self.below > FAR:
            labelled.append(int(np.ceil(low)))
        axis.set_major_locator(FixedLocator([10.0**e for e in sorted(labelled)]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
        axis.set_minor_locator(FixedLocator([10.0**e for e in exponents if e not in labelled]))
        axis.set_minor_formatter(NullFormatter())

    def note(self, what: str = "Shaded: the scale is") -> str | None:
        """Say where the scale is compressed."""
        far = [self.below > FAR, self.above > FAR]
        ends = [f"below {power_of_ten(10.0**-RESOLVED)}", f"above {power_of_ten(10.0**RESOLVED)}"]
        sides = " and ".join(end for end, is_far in zip(ends, far, strict=True) if is_far)
        return f"{what} compressed {sides}" if sides else None

    def _shaded(self, low: float, high: float) -> list[tuple[bool, float, float]]:
        return [
            (self.below > FAR, low, 10.0**-RESOLVED),
            (self.above > FAR, 10.0**RESOLVED, high),
        ]


def _room(decades: float) -> float:
    """Return the height (decades) of this many decades at an end of the scale."""
    return ROOM if decades > FAR else max(decades, 1)


def _extended(x: np.ndarray, xs: list[float], ys: list[float]) -> np.ndarray:
    """Interpolate linearly between the points (xs, ys). Beyond them the slope of each end continues."""
    first = (ys[1] - ys[0]) / (xs[1] - xs[0])
    last = (ys[-1] - ys[-2]) / (xs[-1] - xs[-2])
    inner = np.interp(x, xs, ys)
    return inner + first * np.minimum(x - xs[0], 0) + last * np.maximum(x - xs[-1], 0)
