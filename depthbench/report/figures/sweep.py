"""Train error against the value of a swept setting, with the best value of each depth."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.analysis.rows import rows_of
from depthbench.analysis.sweep import Sweep, Swept
from depthbench.report.entries import ANSWER, ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.style import canvas, layout, legends, palette, tags, text, ticks
from depthbench.report.sweeping import name_of_key

OPTIMUM: palette.Look = {
    "marker": "v",
    "markersize": 7,
    "markeredgecolor": canvas.INK,
    "markeredgewidth": 0.8,
    "linestyle": "",
}
END: palette.Look = {"color": palette.GREY, "linewidth": 0.8, "dashes": (4, 3)}


def draw(evidence: Evidence) -> Figure | None:
    """Draw the mean error (percent) and its range over seeds, a line per depth, a panel per network."""
    places = [
        (swept, network) for swept in evidence.sweeps for network in layout.networks_of(swept.sweep.cells)
    ]
    if not places:
        return None
    colours = palette.depth_colours(evidence.runs["depth"])
    counts = [n for swept in evidence.sweeps for n in swept.optima["n"]]
    title = f"Train error by value and depth (mean and range of {text.seed_count(counts)})"
    figure, panels = layout.flow(len(places), 2.4, title, share=False)
    shown = [axes for axes in panels.flat if axes is not None]
    for axes, (swept, network) in zip(shown, places, strict=True):
        _draw_panel(axes, swept, network, colours)
        layout.set_panel_title(axes, network)
        axes.set(xlabel=name_of_key(swept.sweep.key), ylim=(0, 100))
    for row in panels:
        layout.label_left([axes for axes in row if axes is not None], "train error (%)")
    handles = legends.depth_handles(colours)
    grey: palette.Look = {**OPTIMUM, "color": palette.GREY}
    handles.append(Line2D([], [], label="best value", **grey))
    if any((swept.sweep.cells["status"] == "diverged").any() for swept in evidence.sweeps):
        handles.append(legends.status_handle("diverged", label="with diverged runs, at chance error"))
    legends.legend_below(figure, handles)
    return figure


def _draw_panel(axes: Axes, swept: Swept, network: str, colours: dict[int, str]) -> None:
    sweep = swept.sweep
    places = _places(sweep)
    for depth, cells in layout.by_depth(sweep.cells[sweep.cells["network"] == network]):
        with tags.tagged(axes, depth, network=network):
            line = _draw_line(axes, cells, places, colours[depth])
        name = f"{network}, depth {depth}, {text.mean_of(cells['seed'].nunique())}"
        drawn = [value for value in sweep.values if (cells["value"] == value).any()]
        tags.describe(line, tags.Series(name, name_of_key(sweep.key), "train error", "%", drawn))
    for row in rows_of(swept.optima[swept.optima["network"] == network]):
        with tags.tagged(axes, row["depth"], network=network):
            _draw_optimum(axes, sweep, row, colours[row["depth"]])
    if sweep.is_log:
        axes.set_xscale("log")
        ticks.label_log(axes, "x")
    elif not sweep.is_numeric:
        axes.set_xticks(list(places.values()), list(map(str, places)))
        axes.set_xlim(-0.5, len(places) - 0.5)


def _draw_line(axes: Axes, cells: pd.DataFrame, places: dict[Any, float], colour: str) -> Line2D:
    """Draw the mean error of one network and depth, its range and the values with diverged runs."""
    means = cells.groupby("value", sort=False)["error"].agg(["mean", "min", "max"])
    means.index = means.index.map(places)
    means = means.sort_index()
    (line,) = axes.plot(means.index, means["mean"], color=colour, marker="o", markersize=3)
    axes.fill_between(means.index, means["min"], means["max"], color=colour, alpha=0.13, linewidth=0)
    diverged = sorted({places[value] for value in cells.loc[cells["status"] == "diverged", "value"]})
    if diverged:
        marker = palette.STATUS_MARKERS["diverged"]
        axes.plot(
            diverged, means.loc[diverged, "mean"], color=colour, linestyle="", marker=marker, markersize=7
        )
    return line


def _places(sweep: Sweep) -> dict[Any, float]:
    """Return the place of each value on the horizontal axis."""
    values = sweep.values
    return dict(zip(values, map(float, values if sweep.is_numeric else range(len(values))), strict=True))


def _draw_optimum(axes: Axes, sweep: Sweep, row: dict[str, Any], colour: str) -> None:
    """Mark the best value of a depth, and the range of the best values of single seeds."""
    x = row["optimum"] if sweep.is_numeric else _places(sweep)[row["best"]]
    if sweep.is_numeric and row["greatest"] > row["least"]:
        ends = [row["least"], row["greatest"]]
        axes.plot(ends, [row["error"]] * 2, color=colour, linewidth=2.5, alpha=0.8)
    axes.plot(x, row["error"], color=colour, **OPTIMUM)


FIGURE = ReportFigure(
    draw,
    title="Error against the swept setting",
    chapter=ANSWER,
    caption=(
        "Train error in evaluation mode against the value of the swept setting, one line per depth. "
        "The band is the range over seeds. A triangle is the mean best value over seeds, and its bar "
        "spans the best values of single seeds. Where lines cross, the effect of depth depends on the "
        "setting. A diverged run counts at chance error."
    ),
)


def draw_movement(evidence: Evidence) -> Figure | None:
    """Draw the best value of each seed against depth, on logarithmic axes, a panel per setting."""
    moving = [swept for swept in evidence.sweeps if len(swept.movements)]
    if not moving:
        return None
    figure, panels = layout.flow(len(moving), 2.6, "Best value against depth", share=False)
    shown = [axes for axes in panels.flat if axes is not None]
    networks = list(dict.fromkeys(name for swept in moving for name in layout.networks_of(swept.optima)))
    looks = palette.network_looks(networks)
    for axes, swept in zip(shown, moving, strict=True):
        for network, rows in swept.optima.groupby("network", sort=False):
            _draw_movement(axes, str(network), rows.sort_values("depth"), looks[str(network)])
        _set_axes(axes, swept, text.depth_label(evidence.runs["family"]))
    handles = [*legends.network_handles(looks), Line2D([], [], label="end of the sweep", **END)]
    legends.legend_below(figure, handles)
    return figure


def _draw_movement(axes: Axes, network: str, rows: pd.DataFrame, look: palette.Look) -> None:
    for row in rows_of(rows):
        each = np.array(list(row["optima"].values()), float)
        with tags.tagged(axes, row["depth"], network=network):
            axes.scatter([row["depth"]] * len(each), each, color=look["color"], s=6)
    with tags.tagged(axes, network=network):
        (line,) = axes.plot(rows["depth"], rows["optimum"], **look)
    name = f"{network}, {text.mean_of(int(rows['n'].min()))}"
    tags.describe(line, tags.Series(name, "depth", "best value"))


def _set_axes(axes: Axes, swept: Swept, depth_label: str) -> None:
    first, *_, last = swept.sweep.values
    for end in (first, last):
        axes.axhline(end, **END)
    axes.set(xscale="log", yscale="log", xlabel=depth_label, ylabel=f"best {name_of_key(swept.sweep.key)}")
    axes.set_ylim(first / 1.3, last * 1.3)
    depths = sorted(swept.optima["depth"].unique())
    axes.set_xlim(depths[0] / 1.15, depths[-1] * 1.15)
    axes.set_xticks(depths, list(map(str, depths)))
    axes.set_xticks([], minor=True)
    ticks.label_log(axes, "y")


MOVEMENT = ReportFigure(
    draw_movement,
    title="How the best value moves with depth",
    chapter="sweep",
    caption=(
        "Best value of the swept setting against depth. Dots are single seeds, and the line is their "
        "mean. A flat line means that one value suits every depth. If a best value is at an end of the "
        "sweep (dashed), a better one may lie beyond it."
    ),
)
