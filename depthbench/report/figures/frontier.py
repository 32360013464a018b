"""The deepest depth at which each network trains, and the depth that mean-field theory expects."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from depthbench.analysis import FINISHED
from depthbench.analysis.rows import rows_of
from depthbench.analysis.theory import TRAINABLE
from depthbench.report.entries import ANSWER, ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.style import layout, legends, palette, tags, text

LEGEND = 1.3  # in: the height of the legend and the axis
TRAINS = "deepest depth that trains:"
EXPECTED: palette.Look = {"color": palette.GREY, "marker": "D", "markersize": 6, "markerfacecolor": "none"}


def draw(evidence: Evidence) -> Figure | None:
    """Draw one row per network: the frontier of each seed, their median, and the depth expected by theory.

    The network with the shallowest median is at the top."""
    search, runs = evidence.search, evidence.runs
    if search is None:
        return None
    below, frontiers, summary = search
    summary = summary.sort_values(["median", "low", "high"], kind="stable")
    networks = list(summary["network"])
    colours = palette.network_looks(layout.networks_of(runs))  # as in other figures
    title = f"Deepest depth with a train error below {below:g} % ({text.seed_count(summary['n'])})"
    figure, panels = layout.grid(1, 1, LEGEND + 0.4 * len(networks), title)
    axes = panels[0, 0]
    for row, network in enumerate(networks):
        colour = colours[network]["color"]
        seeds = frontiers[frontiers["network"] == network].sort_values("trains", na_position="last")
        heights = [row + 0.22 * _spread(index, len(seeds)) for index in range(len(seeds))]
        with tags.tagged(axes, network=network):
            for y, seed in zip(heights, rows_of(seeds), strict=True):
                _draw_seed(axes, y, seed, colour)
            median = summary.loc[summary["network"] == network, "median"].iloc[0]
            if median:
                span = [row - 0.32, row + 0.32]
                (bar,) = axes.plot([median] * 2, span, color=colour, linewidth=2.5)
                name = f"{network}, median of {text.seed_count([len(seeds)])}"
                tags.describe(bar, tags.Series(name, "", TRAINS, ys=[median] * 2))
    axes.set_yticks(range(len(networks)), networks)
    axes.set_ylim(len(networks) - 0.5, -0.5)
    axes.set_xlim(0, 1.08 * runs["depth"].max())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    expected = [
        _draw_expected(axes, row, each["network"], each["expected"])
        for row, each in enumerate(rows_of(summary))
    ]
    axes.set_xlabel(text.depth_label(runs["family"]))
    handles = []
    if summary["median"].any():
        handles.append(Line2D([], [], color=palette.GREY, linewidth=2.5, label="median"))
    ends = frontiers[frontiers["trains"].notna()]
    if ends["fails"].notna().any():
        handles.append(_mark("o", "deepest depth that trains (one seed)"))
        handles.append(_mark("|", "next tested depth, which does not train"))
    if ends["fails"].isna().any():
        handles.append(_mark(">", "maximum depth tested, which trains"))
    if any(expected):
        about = f"theory: {TRAINABLE} depth scales, {TRAINABLE}/|ln rate| (after Schoenholz et al. 2017)"
        handles.append(Line2D([], [], label=about, **EXPECTED | {"linestyle": ""}))
    notes = [_nowhere(frontiers, networks)]
    if (~runs["status"].isin(FINISHED)).any():
        notes.append("The search is not finished: some runs have no final error")
    note = "\n".join(filter(None, notes)) or None
    if handles or note:
        legends.legend_below(figure, handles, 2, note)
    return figure


def _nowhere(frontiers: pd.DataFrame, networks: list[str]) -> str:
    """Name the networks with seeds that train at no tested depth."""
    names = []
    for network in networks:
        trains = frontiers.loc[frontiers["network"] == network, "trains"]
        if nowhere := int(trains.isna().sum()):
            some = f" ({nowhere} of {len(trains)} seeds)" if nowhere < len(trains) else ""
            names.append(network + some)
    return f"No tested depth trains: {', '.join(names)}" if names else ""


def _draw_expected(axes: Axes, row: int, network: str, depth: float) -> bool:
    """Mark the frontier that theory expects; return whether it expects any.

    A frontier beyond the axis is marked at the right edge with its depth."""
    if not math.isfinite(depth):
        return False
    edge = axes.get_xlim()[1]
    with tags.tagged(axes, network=network):
        (mark,) = axes.plot(min(depth, edge), row, clip_on=False, zorder=3, **EXPECTED)
        tags.describe(mark, tags.Series(f"{network}, theory", "", "expected depth", ys=[round(depth, 1)]))
        if depth > edge:
            number, beside = f"{depth:,.0f}", (6, 0)  # right of the panel, where it covers nothing
            axes.annotate(
                number,
                (edge, row),
                beside,
                textcoords="offset points",
                va="center",
                color=EXPECTED["color"],
                fontsize=7,
                annotation_clip=False,
            )
    return True


def _draw_seed(axes: Axes, y: float, seed: Mapping[str, Any], colour: str) -> None:
    """Draw a line from the deepest depth that trains to the next tested depth, which does not."""
    if pd.isna(seed["trains"]):
        return
    trains, fails = int(seed["trains"]), seed["fails"]
    name = f"{seed['network']}, seed {seed['seed']}"
    if pd.isna(fails):
        (mark,) = axes.plot(trains, y, color=colour, marker=">", markersize=6)
        tags.describe(mark, tags.Series(name, "", "maximum depth tested, trains:", ys=[trains]))
        return
    axes.plot([trains, fails], [y, y], color=colour, linewidth=1, alpha=0.6)
    (end,) = axes.plot(fails, y, color=colour, marker="|", markersize=6)
    tags.describe(end, tags.Series(name, "", "next tested depth, does not train:", ys=[int(fails)]))
    (mark,) = axes.plot(trains, y, color=colour, marker="o")
    tags.describe(mark, tags.Series(name, "", TRAINS, ys=[trains]))


def _spread(index: int, count: int) -> float:
    """Return the vertical position of a seed in its row, from -1 to 1."""
    return 2 * index / (count - 1) - 1 if count > 1 else 0.0


def _mark(marker: str, label: str) -> Line2D:
    return Line2D([], [], color=palette.GREY, marker=marker, linestyle="", label=label)


FIGURE = ReportFigure(
    draw,
    title="Deepest trainable depth",
    chapter=ANSWER,
    caption=(
        "Deepest depth at which each network trains, from the shallowest median to the deepest. Each thin "
        "line is one seed. It leads from the deepest depth that trains to the next tested depth, which does "
        "not. The limit lies between the two. The thick bar is the median over seeds, or the lower of the "
        "two middle values if their number is even. The hollow diamond is the depth predicted by the theory "
        "of wide networks at initialisation. Trained networks can exceed it. A prediction beyond the axis is "
        "drawn at its edge, with its value."
    ),
)
