"""Last errors of many networks that have one depth each: a row a network and depth."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from depthbench.analysis import FINISHED
from depthbench.report import style

MOST_LINES = 4  # networks of one depth that still find room above it
ROW = 0.19  # in


def are_many(runs: pd.DataFrame) -> bool:
    """Whether most networks of `runs` have one depth, and are too many to stand side by side at it."""
    depths = runs.groupby("network")["depth"].nunique()
    alone = int((depths == 1).sum())
    return alone > MOST_LINES and 2 * alone > len(depths)


def draw_rows(
    runs: pd.DataFrame, summary: pd.DataFrame, columns: dict[str, str], heading: str
) -> tuple[Figure, dict]:
    """The figure, a panel each of `columns` (errors in percent), and the colours of its depths. `summary`:
    `analysis.summary.summarise` of `runs`."""
    cells = list(runs[["depth", "network"]].drop_duplicates().itertuples(index=False, name=None))
    cells.sort(key=lambda cell: cell[0])  # networks stay in the study's order
    colours = style.depth_colours(runs["depth"])
    figure, panels = style.grid(1, len(columns), 0.4 + ROW * len(cells), heading, sharex=False)
    for axes, (column, title) in zip(panels[0], columns.items(), strict=True):
        for place, (depth, network) in enumerate(cells):
            with style.of_depth(axes, depth):
                here = (
                    frame[(frame["network"] == network) & (frame["depth"] == depth)]
                    for frame in (summary, runs)
                )
                _draw_row(axes, place, *here, column, colours[depth])
        top = axes.get_xlim()[1]
        axes.set_xlim(-0.02 * max(top, 1), max(top, 1))  # a point at 0 is seen whole
        axes.set_title(title)
        axes.set_xlabel("error (%)")
        axes.grid(axis="y", visible=False)
    panels[0, 0].set_yticks(range(len(cells)), [f"{network}, depth {depth}" for depth, network in cells])
    panels[0, 0].set_ylim(len(cells) - 0.4, -0.6)
    return figure, colours


def _draw_row(
    axes: Axes, place: int, summary: pd.DataFrame, runs: pd.DataFrame, column: str, colour: str
) -> None:
    """Every seed, their mean as a stroke, and its 95% t interval."""
    mean, low, high = (summary[f"{column}_{key}"].iloc[0] for key in ("mean", "low", "high"))
    axes.plot([mean] * 2, [place - 0.36, place + 0.36], color=colour, linewidth=1.6)
    if np.isfinite(low):
        axes.plot([max(low, 0), min(high, 100)], [place] * 2, color=colour, linewidth=1)
    shifts = np.linspace(-0.22, 0.22, len(runs)) if len(runs) > 1 else [0]
    for shift, run in zip(shifts, runs.sort_values("seed").itertuples(), strict=True):
        point = {"color": colour, "markeredgecolor": "white", "markeredgewidth": 0.4, "linestyle": ""}
        if run.status in FINISHED:
            marker, size = style.MARKS.get(run.status, "o"), 6 if run.status == "diverged" else 4
            axes.plot(
                getattr(run, column), place + shift, marker=marker, markersize=size, alpha=0.75, **point
            )
        else:  # no value to stand at: at the right edge
            point |= {"transform": axes.get_yaxis_transform(), "clip_on": False}
            axes.plot(0.985, place + shift, marker=style.MARKS[run.status], markersize=5, **point)
