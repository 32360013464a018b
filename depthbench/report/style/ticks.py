"""Axes of training steps, and ticks of logarithmic axes."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from depthbench.report.style.text import power_of_ten, short_count


def step_axis(axes: Axes, last: float) -> None:
    """Make the x axis count updates from 0 to `last`."""
    axes.set_xlim(0, last)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))


def label_log(axes: Axes, which: str = "y") -> None:
    """Set the ticks of a logarithmic axis, `x` or `y`: powers of ten, or finer ticks if it spans few."""
    axis = getattr(axes, f"{which}axis")
    low, high = axis.get_view_interval()
    axes.set(**{f"{which}lim": (low, high)})  # ticks outside would stretch it
    if high > 100 * low:
        stride = int(np.ceil(np.log10(high / low) / 6))
        exponents = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        axis.set_major_locator(FixedLocator(10.0 ** exponents[exponents % stride == 0]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=99))  # else it omits some in a low panel
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
