"""The greatest depth at which each network still trains, over seeds (`depthbench frontier`)."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.analysis import frontier as analysis
from depthbench.report import style
from depthbench.store import Results


def draw(results: Results) -> Figure | None:
    """Frontiers against depth, a row a network, a mark a seed, a bar for their median."""
    runs = results.runs
    bounds = runs["frontier.below"].dropna().unique()
    if len(bounds) == 0:
        return None
    found = analysis.frontiers(runs, bounds[0])
    if found.empty:
        return None
    summary = analysis.summarise(found)
    networks = list(summary["network"])
    looks = style.network_looks(networks)
    title = (
        f"Depth up to which networks train: train error below {bounds[0]:g} % ({style.seeds(summary['n'])})"
    )
    figure, panels = style.grid(1, 1, 0.6 + 0.35 * len(networks), title)
    axes = panels[0, 0]
    for row, (network, look) in enumerate(looks.items()):
        mine = found[found["network"] == network].reset_index(drop=True)
        for place, seed in enumerate(mine.itertuples()):
            _draw_seed(axes, row + 0.22 * _aside(place, len(mine)), seed, look["color"])
        median = summary.loc[summary["network"] == network, "median"].iloc[0]
        axes.plot([median] * 2, [row - 0.32, row + 0.32], color=look["color"], linewidth=2.5)
    axes.set_yticks(range(len(networks)), networks)
    axes.set_ylim(len(networks) - 0.5, -0.5)
    axes.set_xlim(0, 1.08 * max(found[["trains", "fails"]].max().dropna()))
    axes.set_xlabel("depth (weighted layers)")
    handles = [
        Line2D([], [], color="#444444", linewidth=2.5, label="median"),
        Line2D([], [], color="#444444", marker="o", linestyle="", label="greatest depth that trains, a seed"),
    ]
    if found["fails"].notna().any():
        handles.append(_mark("|", "least depth above that does not"))
    if found["fails"].isna().any():
        handles.append(_mark(">", "every depth that was tried trains"))
    style.legend_below(figure, handles, 2)
    return figure


def _draw_seed(axes, y: float, seed, colour: str) -> None:
    """From the greatest depth that trains to the least above it that does not: the frontier is between."""
    trains = 0 if seed.trains is pd.NA else int(seed.trains)
    if seed.fails is pd.NA:
        axes.plot(trains, y, color=colour, marker=">", markersize=6)
        return
    axes.plot([trains, seed.fails], [y, y], color=colour, linewidth=1, alpha=0.6)
    axes.plot(seed.fails, y, color=colour, marker="|", markersize=6)
    axes.plot(trains, y, color=colour, marker="o", clip_on=False)


def _aside(place: int, count: int) -> float:
    """-1 to 1: seeds stand one below the other."""
    return 2 * place / (count - 1) - 1 if count > 1 else 0.0


def _mark(marker: str, label: str) -> Line2D:
    return Line2D([], [], color="#444444", marker=marker, linestyle="", label=label)
