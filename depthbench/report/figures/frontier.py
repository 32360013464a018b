"""The greatest depth at which each network still trains, over seeds (`depthbench frontier`), beside the depth
up to which mean-field theory expects it to."""

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from depthbench.analysis import FINISHED
from depthbench.analysis.frontier import searched
from depthbench.analysis.theory import TRAINABLE
from depthbench.report import style
from depthbench.store.results import Results

EXPECTED = {"color": "#444444", "marker": "D", "markersize": 6, "markerfacecolor": "none"}


def draw(results: Results) -> Figure | None:
    """Frontiers against depth, a row a network, a mark a seed, a bar for their median, and theory's depth."""
    search = searched(results.runs)
    if search is None:
        return None
    below, found, summary = search
    networks = list(summary["network"])
    looks = style.network_looks(networks)
    title = f"Depth up to which networks train: train error below {below:g} % ({style.seeds(summary['n'])})"
    figure, panels = style.grid(1, 1, 0.6 + 0.35 * len(networks), title)
    axes = panels[0, 0]
    for row, (network, look) in enumerate(looks.items()):
        seeds = found[found["network"] == network].sort_values("trains", na_position="last")
        heights = [row + 0.22 * _aside(place, len(seeds)) for place in range(len(seeds))]
        for y, seed in zip(heights, seeds.itertuples(), strict=True):
            _draw_seed(axes, y, seed, look["color"])
        if nowhere := int(seeds["trains"].isna().sum()):
            of = f"{nowhere} of {len(seeds)} seeds: " if nowhere < len(seeds) else ""
            told = f" {of}no depth that was tried trains"
            axes.text(0, heights[-1], told, color=look["color"], fontsize=7, va="center")
        median = summary.loc[summary["network"] == network, "median"].iloc[0]
        if median:
            axes.plot([median] * 2, [row - 0.32, row + 0.32], color=look["color"], linewidth=2.5)
    axes.set_yticks(range(len(networks)), networks)
    axes.set_ylim(len(networks) - 0.5, -0.5)
    axes.set_xlim(0, 1.08 * results.runs["depth"].max())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    expected = [_draw_expected(axes, row, depth) for row, depth in enumerate(summary["expected"])]
    axes.set_xlabel("depth (weighted layers)")
    handles = []
    if summary["median"].any():
        handles.append(Line2D([], [], color="#444444", linewidth=2.5, label="median"))
    ends = found[found["trains"].notna()]
    if ends["fails"].notna().any():
        handles.append(_mark("o", "greatest depth that trains, a seed"))
        handles.append(_mark("|", "least depth above that does not"))
    if ends["fails"].isna().any():
        handles.append(_mark(">", "the deepest that was tried trains"))
    if any(expected):
        about = f"theory: {TRAINABLE} depth scales, {TRAINABLE}/|ln rate| (after Schoenholz et al. 2017)"
        handles.append(Line2D([], [], linestyle="", label=about, **EXPECTED))
    lacking = (~results.runs["status"].isin(FINISHED)).any()
    note = "The search is not finished: some runs have no final error" if lacking else None
    if handles or note:
        style.legend_below(figure, handles, 2, note)
    return figure


def _draw_expected(axes, row: int, depth: float) -> bool:
    """Where theory expects a network's frontier: at the right edge, with its depth, where that lies beyond.
    Whether it expects any."""
    if not math.isfinite(depth):
        return False
    edge = axes.get_xlim()[1]
    axes.plot(min(depth, edge), row, clip_on=False, zorder=3, **EXPECTED)
    if depth > edge:
        axes.annotate(
            f"{depth:,.0f} ", (edge, row), ha="right", va="bottom", color=EXPECTED["color"], fontsize=7
        )
    return True


def _draw_seed(axes, y: float, seed, colour: str) -> None:
    """From the greatest depth that trains to the least above it that does not: the frontier is between."""
    if seed.trains is pd.NA:
        return
    trains = int(seed.trains)
    if seed.fails is pd.NA:
        axes.plot(trains, y, color=colour, marker=">", markersize=6)
        return
    axes.plot([trains, seed.fails], [y, y], color=colour, linewidth=1, alpha=0.6)
    axes.plot(seed.fails, y, color=colour, marker="|", markersize=6)
    axes.plot(trains, y, color=colour, marker="o")


def _aside(place: int, count: int) -> float:
    """-1 to 1: seeds stand one below the other."""
    return 2 * place / (count - 1) - 1 if count > 1 else 0.0


def _mark(marker: str, label: str) -> Line2D:
    return Line2D([], [], color="#444444", marker=marker, linestyle="", label=label)
