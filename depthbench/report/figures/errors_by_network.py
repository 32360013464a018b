"""Final errors of many networks with one depth each, one row per network and depth."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from depthbench.analysis import FINISHED
from depthbench.analysis.rows import rows_of
from depthbench.report.style import canvas, layout, palette, tags, text

MOST_LINES = 4  # networks of one depth that fit side by side
ROW = 0.19  # in: per network and depth


def are_many(runs: pd.DataFrame) -> bool:
    """Return whether most networks have one depth, and these are too many to draw side by side."""
    depths = runs.groupby("network")["depth"].nunique()
    single = int((depths == 1).sum())
    return single > MOST_LINES and 2 * single > len(depths)


def draw_rows(
    runs: pd.DataFrame, summary: pd.DataFrame, columns: dict[str, str], heading: str
) -> tuple[Figure, dict[int, str]]:
    """Draw a panel for each of `columns` (errors in percent); return the figure and its depth colours.

    `summary` is `analysis.summary.summarise` of `runs`."""
    cells = list(runs[["depth", "network"]].drop_duplicates().itertuples(index=False, name=None))
    cells.sort(key=lambda cell: cell[0])  # networks stay in the study's order
    colours = palette.depth_colours(runs["depth"])
    figure, panels = layout.grid(1, len(columns), 0.4 + ROW * len(cells), heading, sharex=False)
    for axes, (column, title) in zip(panels[0], columns.items(), strict=True):
        for height, (depth, network) in enumerate(cells):
            with tags.tagged(axes, depth, network=network):
                mean, seeds = (
                    frame[(frame["network"] == network) & (frame["depth"] == depth)]
                    for frame in (summary, runs)
                )
                error = columns[column].split(",")[0]  # without the mode in which it was measured
                name = f"{network}, depth {depth}"
                described = tags.Series(name, "", error, "%")
                _draw_mean(axes, mean, column, height=height, colour=colours[depth], described=described)
                _draw_seeds(axes, seeds, column, height=height, colour=colours[depth], described=described)
        top = axes.get_xlim()[1]
        axes.set_xlim(-0.02 * max(top, 1), max(top, 1))  # show all of a point at 0
        axes.set_title(title)
        axes.set_xlabel("error (%)")
        axes.grid(axis="y", visible=False)
    panels[0, 0].set_yticks(range(len(cells)), [f"{network}, depth {depth}" for depth, network in cells])
    panels[0, 0].set_ylim(len(cells) - 0.4, -0.6)
    return figure, colours


def _draw_mean(
    axes: Axes, summary: pd.DataFrame, column: str, *, height: float, colour: str, described: tags.Series
) -> None:
    """Draw the mean as a stroke, and its 95 % interval if it has one."""
    mean, low, high = (summary[f"{column}_{key}"].iloc[0] for key in ("mean", "low", "high"))
    (stroke,) = axes.plot([mean] * 2, [height - 0.36, height + 0.36], color=colour, linewidth=1.6)
    name = f"{described.name}, {text.mean_of(int(summary['n'].iloc[0]))}"
    tags.describe(stroke, replace(described, name=name, ys=[mean] * 2))
    if np.isfinite(low):
        axes.plot([low, high], [height] * 2, color=colour, linewidth=1)


def _draw_seeds(
    axes: Axes, runs: pd.DataFrame, column: str, *, height: float, colour: str, described: tags.Series
) -> None:
    """Draw a point per run."""
    offsets = np.linspace(-0.22, 0.22, len(runs)) if len(runs) > 1 else [0]
    point: palette.Look = {
        "color": colour,
        "markeredgecolor": canvas.PAPER,
        "markeredgewidth": 0.4,
        "linestyle": "",
    }
    for offset, run in zip(offsets, rows_of(runs.sort_values("seed")), strict=True):
        y, status = height + offset, run["status"]
        if status in FINISHED:
            marker, size = palette.STATUS_MARKERS.get(status, "o"), 6 if status == "diverged" else 4
            (drawn,) = axes.plot(run[column], y, marker=marker, markersize=size, alpha=0.75, **point)
            ending = "" if status == "done" else f" ({status})"
            name = f"{described.name}, seed {run['seed']}{ending}"
            series = replace(described, name=name, ys=[run[column]])
        else:  # no error: at the right edge
            edge = point | {"transform": axes.get_yaxis_transform(), "clip_on": False}
            (drawn,) = axes.plot(0.985, y, marker=palette.STATUS_MARKERS[status], markersize=5, **edge)
            name = f"{described.name}, seed {run['seed']}"
            series = tags.Series(name, "", "status", ys=[status])
        tags.describe(drawn, series)
