"""Axes of training steps, and ticks of logarithmic axes."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from depthbench.report.style.text import power_of_ten, short_count


class FromOne(MaxNLocator):
    """Ticks at 1 and at round numbers above it, for counts that start at 1."""

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        return sorted({tick or 1 for tick in super().tick_values(vmin, vmax) if tick >= 0})


def step_axis(axes: Axes, last: float) -> None:
    """Make the x axis count updates from 0 to `last`."""
    axes.set_xlim(0, last)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))


def label_log(axes: Axes, which: str = "y", *, powers: bool = True) -> None:
    """Set the ticks of a logarithmic axis, `x` or `y`: powers of ten, or finer ticks if it spans few decades.

    `powers`: whether to write 0.001 as 10⁻³ on an axis that spans many decades."""
    axis = getattr(axes, f"{which}axis")
    low, high = axis.get_view_interval()
    axes.set(**{f"{which}lim": (low, high)})  # ticks outside would stretch it
    writes_powers = powers and high > 100 * low
    axis.set_major_formatter(FuncFormatter(lambda v, _: power_of_ten(v) if writes_powers else f"{v:g}"))
    if high > 100 * low:
        stride = int(np.ceil(np.log10(high / low) / 6))
        exponents = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        axis.set_major_locator(FixedLocator(10.0 ** exponents[exponents % stride == 0]))
        axis.set_minor_locator(NullLocator())
    elif high > 3 * low:
        # by default the locator omits some in a low panel
        axis.set_major_locator(LogLocator(subs=_parts(high / low), numticks=99))
    else:
        nice = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        axis.set_major_locator(FixedLocator([tick for tick in nice if low <= tick <= high]))
        axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _parts(span: float) -> tuple[float, ...]:
    """Return the ticks in each decade of an axis with this top / bottom."""
    if span > 20:
        return (1, 2, 5)
    return (1, 2, 3, 5, 7) if span > 6 else (1, 1.5, 2, 3, 5, 7)
