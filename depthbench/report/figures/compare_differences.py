"""By how much the errors of studies differ, seed by seed: a row a network and depth."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from depthbench.analysis.comparison import ERRORS, differences, studies_of
from depthbench.report import style
from depthbench.store.results import Results

LEAST = 0.125  # percentage points, so that rounding looks like no difference; 0.1 has its label within
ROW = 0.24  # in: of a network and depth


def draw(joined: Results) -> Figure | None:
    """Each study's error minus the first one's (percentage points), a row a network and depth."""
    found = differences(joined)
    if found.empty:
        return None
    first, *others = studies_of(joined)
    cells = list(found[["network", "depth"]].drop_duplicates().itertuples(index=False, name=None))[::-1]
    places = {cell: k for k, cell in enumerate(cells)}
    known = style.seeds(found["n"])
    heading = f"Error less that of {first}, percentage points (each of {known}, mean and 95% t interval)"
    figure, panels = style.grid(1, len(ERRORS), 0.4 + ROW * len(cells) * max(1, len(others) / 2), heading)
    looks = style.study_looks([first, *others])
    shifts = dict(zip(others, np.linspace(0.25, -0.25, len(others)) if len(others) > 1 else [0], strict=True))
    for axes, error in zip(panels[0], ERRORS.values(), strict=True):
        axes.axvline(0, color="#444444", linewidth=0.8)
        for row in found[found["error"] == error].to_dict("records"):
            with style.of_depth(axes, row["depth"]):
                height = places[row["network"], row["depth"]] + shifts[row["study"]]
                _draw_difference(axes, row, height, looks[row["study"]])
        axes.set_title(error)
        axes.set_xlabel("difference (percentage points)")
        axes.grid(axis="y", visible=False)
    low, high = panels[0, 0].get_xlim()
    panels[0, 0].set_xlim(min(low, -LEAST), max(high, LEAST))
    # few, since labels of small differences are long
    panels[0, 0].xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    panels[0, 0].set_yticks(range(len(cells)), [f"{network}, depth {depth}" for network, depth in cells])
    panels[0, 0].set_ylim(-0.6, len(cells) - 0.4)
    handles = [Line2D([], [], **looks[other] | {"linestyle": ""}, label=other) for other in others]
    if found["diverged"].any():
        handles.append(style.mark("diverged", label="with a diverged run, counted at chance error"))
    style.legend_below(figure, handles, 3)
    return figure


def _draw_difference(axes: Axes, row: dict, height: float, look: dict) -> None:
    colour = look["color"]
    seeds = list(row["differences"].values())
    axes.plot(seeds, [height] * len(seeds), marker="|", markersize=5, linestyle="", color=colour, alpha=0.6)
    if np.isfinite(row["low"]):
        axes.plot([row["low"], row["high"]], [height] * 2, color=colour, linewidth=1.2)
    marker = style.MARKS["diverged"] if row["diverged"] else look["marker"]
    axes.plot(row["mean"], height, color=colour, marker=marker, markersize=6.5 if row["diverged"] else 4.5)
