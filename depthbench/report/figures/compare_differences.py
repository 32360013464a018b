"""Differences between the errors of studies, seed by seed, one row per network and depth."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
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
    statistics = f"each seed and the mean of {text.seed_count(differences['n'])}"
    if differences["low"].notna().any():
        statistics += ", with its 95 % interval"
    heading = f"Difference from the error of {baseline} ({statistics})"
    figure, panels = layout.grid(1, len(ERRORS), 0.4 + ROW * len(cells) * max(1, len(others) / 2), heading)
    looks = palette.study_looks([baseline, *others])
    shifts = dict(zip(others, np.linspace(0.25, -0.25, len(others)) if len(others) > 1 else [0], strict=True))
    for axes, error in zip(panels[0], ERRORS.values(), strict=True):
        axes.axvline(0, color=palette.GREY, linewidth=0.8)
        for row in rows_of(differences[differences["error"] == error]):
            with tags.tagged(axes, row["depth"], network=row["study"]):
                height = heights[row["network"], row["depth"]] + shifts[row["study"]]
                _draw_difference(axes, row, error, height=height, look=looks[row["study"]])
        axes.set_title(error)
        axes.set_xlabel("difference (percentage points)")
        axes.grid(axis="y", visible=False)
    low, high = panels[0, 0].get_xlim()
    panels[0, 0].set_xlim(min(low, -MIN_RANGE), max(high, MIN_RANGE))
    # few ticks: labels of small differences are long
    panels[0, 0].xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    panels[0, 0].set_yticks(range(len(cells)), [f"{network}, depth {depth}" for network, depth in cells])
    panels[0, 0].set_ylim(-0.6, len(cells) - 0.4)
    handles = legends.network_handles(
        {
            other: {"color": looks[other]["color"], "marker": looks[other]["marker"], "linestyle": ""}
            for other in others
        }
    )
    if differences["diverged"].any():
        handles.append(
            legends.status_handle("diverged", label="with a diverged run, counted at chance error")
        )
    legends.legend_below(figure, handles, 3)
    return figure


def _draw_difference(
    axes: Axes, row: Mapping[str, Any], error: str, *, height: float, look: palette.Look
) -> None:
    """Draw the difference of each seed, their mean and its interval if it has one."""
    colour = look["color"]
    seeds = list(row["differences"].values())
    name, value = f"{row['study']}: {row['network']}, depth {row['depth']}", f"difference in {error}"
    short: palette.Look = {"marker": "|", "markersize": 5, "linestyle": "", "color": colour, "alpha": 0.6}
    (strokes,) = axes.plot(seeds, [height] * len(seeds), **short)
    tags.describe(strokes, tags.Series(name, "seed", value, "points", xs=list(row["differences"]), ys=seeds))
    if np.isfinite(row["low"]):
        axes.plot([row["low"], row["high"]], [height] * 2, color=colour, linewidth=1.2)
    marker = palette.STATUS_MARKERS["diverged"] if row["diverged"] else look["marker"]
    size = 6.5 if row["diverged"] else 4.5
    (mean,) = axes.plot(row["mean"], height, color=colour, marker=marker, markersize=size)
    statistic = f"{name}, {text.mean_of(len(seeds))}"
    tags.describe(mean, tags.Series(statistic, "", value, "points", ys=[row["mean"]]))


FIGURE = ReportFigure(
    draw,
    title="Differences, seed by seed",
    chapter=ANSWER,
    caption=(
        "Error of each study minus that of the first study. To the right of zero, the study has the higher "
        "error. Each short line is one seed, and the marker is the mean of the seeds. From 5 seeds on, a bar "
        "is the 95 % interval of the mean, not corrected for the number of rows. The table of differences "
        "shows which ones are significant after correction."
    ),
    needs="",  # the page's opening says that no runs can be compared
)
