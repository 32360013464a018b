"""Differences between the errors of studies, seed by seed, one row per network and depth."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from depthbench.analysis.rows import rows_of
from depthbench.analysis.summary import ERRORS
from depthbench.report.entries import ANSWER, ReportFigure
from depthbench.report.evidence import Comparison
from depthbench.report.style import layout, legends, palette, tags, text

MIN_RANGE = 0.125  # percentage points, so that rounding errors look like zero and 0.1 keeps its label
ROW = 0.24  # in: per network and depth


def draw(compared: Comparison) -> Figure | None:
    """Draw each study's error minus that of the first study (percentage points)."""
    differences = compared.differences
    if differences.empty:
        return None
    baseline, *others = compared.labels
    cells = list(differences[["network", "depth"]].drop_duplicates().itertuples(index=False, name=None))[::-1]
    heights = {cell: k for k, cell in enumerate(cells)}
    seeds = text.seed_count(differences["n"])
    heading = f"Difference from the error of {baseline} ({seeds}, mean and 95 % t interval)"
    figure, panels = layout.grid(1, len(ERRORS), 0.4 + ROW * len(cells) * max(1, len(others) / 2), heading)
    looks = palette.study_looks([baseline, *others])
    shifts = dict(zip(others, np.linspace(0.25, -0.25, len(others)) if len(others) > 1 else [0], strict=True))
    for axes, error in zip(panels[0], ERRORS.values(), strict=True):
        axes.axvline(0, color=palette.GREY, linewidth=0.8)
        for row in rows_of(differences[differences["error"] == error]):
            with tags.tagged(axes, row["depth"]):
                height = heights[row["network"], row["depth"]] + shifts[row["study"]]
                _draw_difference(axes, row, height, looks[row["study"]])
        axes.set_title(error)
        axes.set_xlabel("difference (percentage points)")
        axes.grid(axis="y", visible=False)
    low, high = panels[0, 0].get_xlim()
    panels[0, 0].set_xlim(min(low, -MIN_RANGE), max(high, MIN_RANGE))
    # few ticks: labels of small differences are long
    panels[0, 0].xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    panels[0, 0].set_yticks(range(len(cells)), [f"{network}, depth {depth}" for network, depth in cells])
    panels[0, 0].set_ylim(-0.6, len(cells) - 0.4)
    handles = [Line2D([], [], **looks[other] | {"linestyle": ""}, label=other) for other in others]
    if differences["diverged"].any():
        handles.append(
            legends.status_handle("diverged", label="with a diverged run, counted at chance error")
        )
    legends.legend_below(figure, handles, 3)
    return figure


def _draw_difference(axes: Axes, row: Mapping[str, Any], height: float, look: palette.Look) -> None:
    """Draw the difference of each seed, their mean and its interval."""
    colour = look["color"]
    seeds = list(row["differences"].values())
    axes.plot(seeds, [height] * len(seeds), marker="|", markersize=5, linestyle="", color=colour, alpha=0.6)
    if np.isfinite(row["low"]):
        axes.plot([row["low"], row["high"]], [height] * 2, color=colour, linewidth=1.2)
    marker = palette.STATUS_MARKERS["diverged"] if row["diverged"] else look["marker"]
    axes.plot(row["mean"], height, color=colour, marker=marker, markersize=6.5 if row["diverged"] else 4.5)


FIGURE = ReportFigure(
    draw,
    title="Differences, seed by seed",
    chapter=ANSWER,
    caption=(
        "Error of each study minus that of the first study. Right of zero the study has the higher error. "
        "Each short line is one seed, the marker is their mean, and the bar is its 95 % t interval. The bars "
        "are not corrected for the number of rows. The table below says which differences are significant "
        "after correction."
    ),
    needs="a network and depth with finished runs of the same seed in two studies",
)
