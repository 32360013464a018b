"""Error against cost, for choosing a depth: one panel per cost, one point per network and depth."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.analysis.choice import ERRORS, partly_recorded, ranked_costs
from depthbench.analysis.rows import rows_of
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.figures.labels import Label, label_points
from depthbench.report.sentences import measured_differently
from depthbench.report.style import canvas, layout, legends, palette, tags, text, ticks

LEAST_RANGE = 2.0  # top / bottom of an axis, at least: small differences look small
MARGIN = 0.13  # beside the points, relative to the length of the axis between them
ON_SLIDE = ("multiply_adds", "seconds")  # more panels are too small there
TOP = 110.0  # percent: the end of the error axis, at most
MOST_LABELS = 12  # in a panel; of more points, only the best are labelled
FRONT: palette.Look = {"color": palette.GREY, "linewidth": 1, "alpha": 0.6, "zorder": 1.5}
RING: palette.Look = {
    "color": canvas.INK,
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
    omitted = _omitted(table, evidence)
    costs = ranked_costs(table, omitted)
    if not evidence.is_trained or len(table) < 2 or not costs:
        return None
    notes = [f"{COST_AXES[cost].title} is not drawn: {reason}" for cost, reason in omitted.items()]
    if canvas.is_slide() and len(costs) > len(ON_SLIDE):
        costs = [cost for cost in ON_SLIDE if cost in costs] or costs[:1]
        notes = ["The page shows the other costs"]
    error = ERRORS[table["error"].iloc[0]]
    bar = ", bar: one standard error" if table["se"].notna().any() else ""
    title = f"{error.capitalize()} against cost ({text.seed_count(table['n'])}{bar})"
    rows = 2 if len(costs) == 4 else 1
    figure, panels = layout.grid(rows, len(costs) // rows, 2.5, title, sharex=False)
    floor = _log_axis(panels[0, 0], "y", table["mean"], table["se"])
    is_zero = table["mean"] <= 0
    table = table.assign(height=table["mean"].clip(lower=floor))
    shown = set(table["network"])
    looks: dict[str, palette.Look] = {
        network: {"color": look["color"], "marker": look["marker"]}
        for network, look in palette.network_looks(layout.networks_of(evidence.runs)).items()
        if network in shown
    }
    for axes, cost in zip(panels.flat, costs, strict=True):
        _log_axis(axes, "x", table[cost] / COST_AXES[cost].unit)
        _draw_panel(axes, table.dropna(subset=[cost]), cost, looks)
        axes.set_title(COST_AXES[cost].title)
        axes.set_xlabel(COST_AXES[cost].label)
    for row in panels:
        layout.label_left(row, f"{error} (%)")

    handles = legends.network_handles({name: look | {"linestyle": ""} for name, look in looks.items()})
    handles.append(Line2D([], [], label="lowest error for its cost", **FRONT))
    if (table["done"] < table["n"]).any():
        handles.append(legends.status_handle("diverged", label="with diverged runs, at chance error"))
    if table["chosen"].any():
        handles.append(Line2D([], [], label="recommended", **RING))
    if is_zero.any():
        notes.append("An error of 0 % is drawn at the lower edge")
    legends.legend_below(figure, handles, 5, "\n".join(notes) or None)

    figure.draw_without_rendering()  # labels need the final layout
    for axes, cost in zip(panels.flat, costs, strict=True):
        _label(axes, table.dropna(subset=[cost]), cost, looks)
    return figure


def _draw_panel(axes: Axes, table: pd.DataFrame, cost: str, looks: Mapping[str, palette.Look]) -> None:
    for row in rows_of(table):
        look, x = looks[row["network"]], row[cost] / COST_AXES[cost].unit
        name = f"{row['network']}, depth {row['depth']}, {text.mean_of(row['n'])}"
        error = ERRORS[row["error"]]
        with tags.tagged(axes, row["depth"], network=row["network"]):
            if np.isfinite(row["se"]):
                axes.errorbar(
                    x,
                    row["height"],
                    yerr=row["se"],
                    fmt="none",
                    ecolor=look["color"],
                    elinewidth=0.9,
                    capsize=2,
                )
            marker = look["marker"] if row["done"] == row["n"] else palette.STATUS_MARKERS["diverged"]
            edge: palette.Look = {"marker": marker, "markeredgecolor": canvas.PAPER, "markeredgewidth": 0.4}
            (drawn,) = axes.plot(x, row["height"], **look | edge)
            label = COST_AXES[cost].label
            tags.describe(drawn, tags.Series(name, label, error, "%", ys=[row["mean"]]))
            if row["chosen"]:
                axes.plot(x, row["height"], **RING)
    axes.plot(*_front(axes, table, cost).T, **FRONT)


def _front(axes: Axes, table: pd.DataFrame, cost: str) -> np.ndarray:
    """Return the corners (corners, 2) of a staircase through the Pareto-optimal points.

    It leads from the top of the panel to its right edge. For every point above or to the right of it, a point
    on it is better."""
    rows = table[table[f"front_{cost}"]].sort_values([cost, "height"]).drop_duplicates([cost, "height"])
    x = np.array([*rows[cost] / COST_AXES[cost].unit, axes.get_xlim()[1]], float)
    y = np.array([axes.get_ylim()[1], *rows["height"]], float)
    return np.stack([np.repeat(x, 2)[:-1], np.repeat(y, 2)[1:]], axis=1)


def _label(axes: Axes, table: pd.DataFrame, cost: str, looks: Mapping[str, palette.Look]) -> None:
    """Write the depth at each point, at the optimal ones first in case not all labels fit.

    Of more than MOST_LABELS points, only the optimal ones get a label, but no label covers a point."""
    ordered = table.sort_values(["chosen", f"front_{cost}"], ascending=False, kind="stable")
    labels = [
        Label(
            x=row[cost] / COST_AXES[cost].unit,
            y=row["height"],
            text=str(row["depth"])
            if len(table) <= MOST_LABELS or row[f"front_{cost}"] or row["chosen"]
            else "",
            colour=looks[row["network"]]["color"],
            depth=row["depth"],
            network=row["network"],
            radius=RADIUS[row["chosen"]],
        )
        for row in rows_of(ordered)
    ]
    front = _front(axes, table, cost)
    lines = [front[i : i + 2] for i in range(len(front) - 1)]
    known = table.dropna(subset=["se"])
    x, low, high = (
        known[cost] / COST_AXES[cost].unit,
        known["height"] - known["se"],
        known["height"] + known["se"],
    )
    low = low.clip(lower=axes.get_ylim()[0])  # a logarithmic scale has no values below 0
    lines += list(np.stack([[x, low], [x, high]]).transpose(2, 0, 1))
    label_points(axes, labels, lines)


def _log_axis(axes: Axes, which: str, values: pd.Series, errors: pd.Series | None = None) -> float:
    """Set the logarithmic scale of an axis, `x` or `y`, that shows `values`; return its lower end.

    Values that are 0 belong there. `errors`: their standard errors, if they are percentages."""
    above = values[values > 0]
    low, high = (above.min(), above.max()) if len(above) else (1.0, 1.0)
    if errors is not None:
        high = max(high, (values + errors).max())
        lowest = (above - errors).min()  # NaN if no value above 0 has a standard error
        low = max(lowest, low / 2) if np.isfinite(lowest) else low
    middle, spread = np.sqrt(low * high), max(high / low, LEAST_RANGE)
    reach = spread ** (0.5 + MARGIN)
    bottom, top = middle / reach, middle * reach
    if errors is not None:
        top = min(top, TOP)
    if (values <= 0).any():
        bottom /= spread**MARGIN  # apart from the lowest that is not 0
    axes.set(**{f"{which}scale": "log", f"{which}lim": (bottom, top)})
    ticks.label_log(axes, which, powers=False)
    return float(bottom)


def _omitted(table: pd.DataFrame, evidence: Evidence) -> dict[str, str]:
    """Map each cost that cannot be compared between the rows of `table` to the reason."""
    return dict.fromkeys(partly_recorded(table), "only some runs recorded it") | {
        cost: f"{measured_differently(columns)}, which cannot be compared"
        for cost, columns in evidence.incomparable_costs.items()
    }


FIGURE = ReportFigure(
    draw,
    title="Error against cost",
    chapter="choice",
    caption=(
        "Mean final error of each network and depth against its cost. The number at a point is its depth. "
        "The table lists points without a number. All axes are logarithmic. Lower and further left is "
        "better. The grey line connects the points with the lowest error for their cost. The ring marks the "
        "recommended point, if there is one. It has the fewest multiply-adds of all points with a mean "
        "validation error within one standard error of the best."
    ),
    needs="two networks or depths with finished runs, and a network that trains better than chance",
)
