"""Error against cost, for choosing a depth: one panel per cost, one point per network and depth."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from depthbench.analysis.choice import COSTS, ERRORS
from depthbench.analysis.rows import rows_of
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.figures.labels import Label, label_points
from depthbench.report.sentences import measured_differently
from depthbench.report.style import canvas, layout, legends, palette, tags, text, ticks

WIDE = 5.0  # costs or errors that differ by a larger factor get a logarithmic scale
FRONT: palette.Look = {"color": "#777777", "linewidth": 1, "zorder": 1.5}
RING: palette.Look = {
    "color": "#111111",
    "marker": "o",
    "markersize": 11,
    "markerfacecolor": "none",
    "linestyle": "",
}
RADIUS = {False: 3.5, True: 6.5}  # of a point, without and with a ring, in points (1/72 in)


class CostAxis(NamedTuple):
    """The panel title and axis label of a cost, and the unit by which its values are divided."""

    title: str
    label: str
    unit: float


COST_AXES = {
    "parameters": CostAxis("Parameters", "parameters (million)", 1e6),
    "multiply_adds": CostAxis("Multiply-adds", "multiply-adds (million)", 1e6),
    "seconds": CostAxis("Training time", "time of a run (s)", 1),
    "peak_memory": CostAxis("Peak memory", "peak memory of a run (MB)", 1e6),
}


def draw(evidence: Evidence) -> Figure | None:
    """Draw the mean final error (percent) of each network and depth, ± one standard error, against cost."""
    table = evidence.choice
    costs = [cost for cost in COSTS if table[cost].notna().any()]
    if len(table) < 2 or not costs:
        return None
    error = ERRORS[table["error"].iloc[0]]
    bar = ", bar: one standard error" if table["se"].notna().any() else ""
    title = f"{error.capitalize()} against cost ({text.seed_count(table['n'])}{bar})"
    rows = 2 if len(costs) == 4 else 1
    figure, panels = layout.grid(rows, len(costs) // rows, 2.5, title, sharex=False)
    shown = set(table["network"])
    looks: dict[str, palette.Look] = {
        network: {"color": look["color"], "marker": look["marker"]}
        for network, look in palette.network_looks(layout.networks_of(evidence.runs)).items()
        if network in shown
    }
    _error_axis(panels[0, 0], table)
    for axes, cost in zip(panels.flat, costs, strict=True):
        _cost_axis(axes, table[cost] / COST_AXES[cost].unit)
        _draw_panel(axes, table.dropna(subset=[cost]), cost, looks)
        axes.set_title(COST_AXES[cost].title)
        axes.set_xlabel(COST_AXES[cost].label)
    for row in panels:
        layout.label_left(row, f"{error} (%)")

    handles = [Line2D([], [], label=network, **look | {"linestyle": ""}) for network, look in looks.items()]
    handles.append(Line2D([], [], label="lowest error for its cost", **FRONT))
    if (table["done"] < table["n"]).any():
        handles.append(legends.status_handle("diverged", label="with diverged runs, at chance error"))
    if table["chosen"].any():
        handles.append(Line2D([], [], label="recommended", **RING))
    legends.legend_below(figure, handles, 5, _note(evidence.incomparable_costs, costs))

    figure.draw_without_rendering()  # labels need the final layout
    for axes, cost in zip(panels.flat, costs, strict=True):
        _label(axes, table.dropna(subset=[cost]), cost, looks)
    return figure


def _draw_panel(axes: Axes, table: pd.DataFrame, cost: str, looks: Mapping[str, palette.Look]) -> None:
    for row in rows_of(table):
        look, x = looks[row["network"]], row[cost] / COST_AXES[cost].unit
        with tags.tagged(axes, row["depth"]):
            if np.isfinite(row["se"]):
                axes.errorbar(
                    x,
                    row["mean"],
                    yerr=row["se"],
                    fmt="none",
                    ecolor=look["color"],
                    elinewidth=0.9,
                    capsize=2,
                )
            marker = look["marker"] if row["done"] == row["n"] else palette.STATUS_MARKERS["diverged"]
            axes.plot(
                x, row["mean"], **look | {"marker": marker}, markeredgecolor=canvas.PAPER, markeredgewidth=0.4
            )
            if row["chosen"]:
                axes.plot(x, row["mean"], **RING)
    axes.plot(*_front(axes, table, cost).T, **FRONT)


def _front(axes: Axes, table: pd.DataFrame, cost: str) -> np.ndarray:
    """Return the corners (corners, 2) of a staircase through the Pareto-optimal points.

    It leads from the top of the panel to its right edge. For every point above or to the right of it, a point
    on it is better."""
    rows = table[table[f"front_{cost}"]].sort_values([cost, "mean"]).drop_duplicates([cost, "mean"])
    x = np.array([*rows[cost] / COST_AXES[cost].unit, axes.get_xlim()[1]], float)
    y = np.array([axes.get_ylim()[1], *rows["mean"]], float)
    return np.stack([np.repeat(x, 2)[:-1], np.repeat(y, 2)[1:]], axis=1)


def _label(axes: Axes, table: pd.DataFrame, cost: str, looks: Mapping[str, palette.Look]) -> None:
    """Write the depth at each point, at the optimal ones first in case not all labels fit."""
    ordered = table.sort_values(["chosen", f"front_{cost}"], ascending=False, kind="stable")
    labels = [
        Label(
            x=row[cost] / COST_AXES[cost].unit,
            y=row["mean"],
            text=str(row["depth"]),
            colour=looks[row["network"]]["color"],
            depth=row["depth"],
            radius=RADIUS[row["chosen"]],
        )
        for row in rows_of(ordered)
    ]
    front = _front(axes, table, cost)
    lines = [front[i : i + 2] for i in range(len(front) - 1)]
    known = table.dropna(subset=["se"])
    x, low, high = (
        known[cost] / COST_AXES[cost].unit,
        known["mean"] - known["se"],
        known["mean"] + known["se"],
    )
    low = low.clip(lower=axes.get_ylim()[0])  # a logarithmic scale has no values below 0
    lines += list(np.stack([[x, low], [x, high]]).transpose(2, 0, 1))
    label_points(axes, labels, lines)


def _cost_axis(axes: Axes, costs: pd.Series) -> None:
    low, high = costs.min(), costs.max()
    if high > WIDE * low > 0:
        axes.set_xscale("log")
        axes.set_xlim(low / (high / low) ** 0.12, high * (high / low) ** 0.12)
        ticks.label_log(axes, "x")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.set_xlim(0, 1.2 * high or 1)  # from 0, so that small differences look small
        axes.xaxis.set_major_locator(MaxNLocator(5))


def _error_axis(axes: Axes, table: pd.DataFrame) -> None:
    """Set the scale that all panels share.

    It is logarithmic if errors differ so much that the low ones, which matter most, would overlap."""
    low, high = table["mean"].min(), (table["mean"] + table["se"].fillna(0)).max()
    if high > WIDE * low > 0:
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(low / (high / low) ** 0.15, high * (high / low) ** 0.1)
        ticks.label_log(axes)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        low = (table["mean"] - table["se"].fillna(0)).min()
        margin = 0.15 * (high - low) or 1
        axes.set_ylim(max(low - margin, -0.02 * high), high + margin)


def _note(incomparable: Mapping[str, Sequence[str]], costs: Sequence[str]) -> str | None:
    """Name the shown costs that cannot be compared, and say why."""
    notes = [
        f"{COST_AXES[cost].title}: not comparable, {measured_differently(columns)}"
        for cost, columns in incomparable.items()
        if cost in costs
    ]
    return ". ".join(notes) or None


FIGURE = ReportFigure(
    draw,
    title="Error against cost",
    chapter="choice",
    caption=(
        "Mean final error of each network and depth against its cost. The number at a point is its depth; "
        "unlabelled points are in the table. Lower and further left is better. The grey line connects the "
        "points with the lowest error for their cost. The ring marks the recommended point, if there is one: "
        "it has the fewest multiply-adds of all points with a mean validation error within one standard "
        "error of the best."
    ),
    needs="two networks or depths with finished runs",
)
