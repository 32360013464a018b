"""Error against cost, for choosing a depth: a panel a cost, a point a network and depth."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from depthbench.analysis.choice import COSTS, choose, differing
from depthbench.report import style
from depthbench.report.figures.labels import Label, label_points
from depthbench.store.results import Results

WIDE = 5.0  # costs or errors that differ more than so many times stand on a logarithmic scale
FRONT = {"color": "#777777", "linewidth": 1, "zorder": 1.5}
RING = {"color": "#111111", "marker": "o", "markersize": 11, "markerfacecolor": "none", "linestyle": ""}
RADIUS = {False: 3.5, True: 6.5}  # of a point, and of one that is ringed, in points of 1/72 in


class Cost(NamedTuple):
    """How a cost is told: divided by `unit`, in `words`."""

    title: str
    words: str
    unit: float


TOLD = {
    "parameters": Cost("Parameters", "parameters (million)", 1e6),
    "multiply_adds": Cost("Multiply-adds", "multiply-adds (million)", 1e6),
    "seconds": Cost("Training time", "time of a run (s)", 1),
    "peak_memory": Cost("Peak memory", "peak memory of a run (MB)", 1e6),
}
ERRORS = {"val_error": "validation error", "test_error": "test error"}


def draw(results: Results) -> Figure | None:
    """Mean last error (percent) of each network and depth, its bar one standard error, against each cost that
    is known."""
    table = choose(results.runs)
    costs = [cost for cost in COSTS if table[cost].notna().any()]
    if len(table) < 2 or not costs:
        return None
    error = ERRORS[table["error"].iloc[0]]
    bar = ", bar: one standard error" if table["se"].notna().any() else ""
    title = f"{error.capitalize()} against cost ({style.seeds(table['n'])}{bar})"
    rows = 2 if len(costs) == 4 else 1
    figure, panels = style.grid(rows, len(costs) // rows, 2.5, title, sharex=False)
    known = set(table["network"])
    looks = {
        network: {key: look[key] for key in ("color", "marker")}
        for network, look in style.network_looks(style.networks_of(results.runs)).items()
        if network in known
    }
    _error_axis(panels[0, 0], table)
    for axes, cost in zip(panels.flat, costs, strict=True):
        _cost_axis(axes, table[cost] / TOLD[cost].unit)
        _draw_panel(axes, table.dropna(subset=[cost]), cost, looks)
        axes.set_title(TOLD[cost].title)
        axes.set_xlabel(TOLD[cost].words)
    for row in panels:
        style.label_left(row, f"{error} (%)")

    handles = [Line2D([], [], label=network, linestyle="", **look) for network, look in looks.items()]
    handles.append(Line2D([], [], label="lowest error at its cost", **FRONT))
    if (table["done"] < table["n"]).any():
        handles.append(style.mark("diverged", label="with diverged runs, at chance error"))
    if table["chosen"].any():
        handles.append(Line2D([], [], label="recommended", **RING))
    style.legend_below(figure, handles, 5, _note(results.runs, costs))

    figure.draw_without_rendering()  # to lay it out: labels are placed on paper
    for axes, cost in zip(panels.flat, costs, strict=True):
        _label(axes, table.dropna(subset=[cost]), cost, looks)
    return figure


def _draw_panel(axes: Axes, table: pd.DataFrame, cost: str, looks: dict[str, dict]) -> None:
    for row in table.to_dict("records"):
        look, x = looks[row["network"]], row[cost] / TOLD[cost].unit
        with style.of_depth(axes, row["depth"]):
            if np.isfinite(row["se"]):
                bar = {"fmt": "none", "ecolor": look["color"], "elinewidth": 0.9, "capsize": 2}
                axes.errorbar(x, row["mean"], yerr=row["se"], **bar)
            marker = look["marker"] if row["done"] == row["n"] else style.MARKS["diverged"]
            axes.plot(
                x, row["mean"], **look | {"marker": marker}, markeredgecolor="white", markeredgewidth=0.4
            )
            if row["chosen"]:
                axes.plot(x, row["mean"], **RING)
    axes.plot(*_front(axes, table, cost).T, **FRONT)


def _front(axes: Axes, table: pd.DataFrame, cost: str) -> np.ndarray:
    """The stairs (corners, 2) through the Pareto-optimal points, from the top of the panel to its right edge:
    what lies to the right of them, or above, is beaten."""
    rows = table[table[f"front_{cost}"]].sort_values([cost, "mean"]).drop_duplicates([cost, "mean"])
    x = np.array([*rows[cost] / TOLD[cost].unit, axes.get_xlim()[1]], float)
    y = np.array([axes.get_ylim()[1], *rows["mean"]], float)
    return np.stack([np.repeat(x, 2)[:-1], np.repeat(y, 2)[1:]], axis=1)


def _label(axes: Axes, table: pd.DataFrame, cost: str, looks: dict[str, dict]) -> None:
    """Write the depth at each point; where there is too little room, at the optimal ones first."""
    ordered = table.sort_values(["chosen", f"front_{cost}"], ascending=False, kind="stable")
    labels = [
        Label(
            **{"x": row[cost] / TOLD[cost].unit, "y": row["mean"], "text": str(row["depth"])},
            **{"colour": looks[row["network"]]["color"], "depth": row["depth"]},
            radius=RADIUS[row["chosen"]],
        )
        for row in ordered.to_dict("records")
    ]
    front = _front(axes, table, cost)
    lines = [front[i : i + 2] for i in range(len(front) - 1)]
    known = table.dropna(subset=["se"])
    x, low, high = known[cost] / TOLD[cost].unit, known["mean"] - known["se"], known["mean"] + known["se"]
    low = low.clip(lower=axes.get_ylim()[0])  # below 0 there is no place on a logarithmic scale
    lines += list(np.stack([[x, low], [x, high]]).transpose(2, 0, 1))
    label_points(axes, labels, lines)


def _cost_axis(axes: Axes, costs: pd.Series) -> None:
    low, high = costs.min(), costs.max()
    if high > WIDE * low > 0:
        axes.set_xscale("log")
        axes.set_xlim(low / (high / low) ** 0.12, high * (high / low) ** 0.12)
        style.label_log(axes, "x")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.set_xlim(0, 1.2 * high or 1)  # from 0: small differences are not to look large
        axes.xaxis.set_major_locator(MaxNLocator(5))


def _error_axis(axes: Axes, table: pd.DataFrame) -> None:
    """The scale that all panels share. Logarithmic where errors lie so far apart that the low ones, among
    which one chooses, would lie on each other."""
    low, high = table["mean"].min(), (table["mean"] + table["se"].fillna(0)).max()
    if high > WIDE * low > 0:
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(low / (high / low) ** 0.15, high * (high / low) ** 0.1)
        style.label_log(axes)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        low = (table["mean"] - table["se"].fillna(0)).min()
        margin = 0.15 * (high - low) or 1
        axes.set_ylim(max(low - margin, -0.02 * high), high + margin)


def _note(runs: pd.DataFrame, costs: list[str]) -> str | None:
    """Which of the costs cannot be compared."""
    words = {"device": "devices", "threads": "numbers of threads", "peak_memory_of": "ways of measuring"}
    told = [
        f"{TOLD[cost].title}: not comparable, measured with different {' and '.join(map(words.get, columns))}"
        for cost, columns in differing(runs).items()
        if cost in costs
    ]
    return ". ".join(told) or None
