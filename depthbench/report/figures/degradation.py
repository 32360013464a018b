"""Final errors against depth: does depth alone make the network harder to train?"""

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter
from matplotlib.transforms import ScaledTranslation, Transform

from depthbench.analysis import FINISHED
from depthbench.analysis.summary import summarise
from depthbench.report import style
from depthbench.report.figures.errors_by_network import are_many, draw_rows
from depthbench.store.results import Results

PANELS = {
    "train_error_eval": "train error, evaluation mode",
    "test_error": "test error",
}
ENDINGS = {
    "diverged": "diverged, counted at chance error",
    "failed": "failed, no final error",
    "interrupted": "interrupted, no final error",
}


def draw(results: Results) -> Figure | None:
    """Last train and test error (percent) against depth: every seed, their mean and 95% t interval; of many
    networks that have one depth each, a row each."""
    runs = results.runs
    if not runs["status"].isin(FINISHED).any():
        return None
    summary, networks = summarise(runs), style.networks_of(runs)
    known = style.seeds(summary.loc[summary["n"] > 0, "n"])
    shown = known if known == "1 seed" else f"each seed, mean and 95% t interval of {known}"
    if are_many(runs):
        figure, colours = draw_rows(runs, summary, PANELS, f"Last error ({shown})")
        style.legend_below(figure, style.depth_handles(colours) + style.ending_handles(runs, ENDINGS))
        return figure
    figure, panels = style.grid(1, 2, 2.6, f"Last error against depth ({shown})")
    looks = style.network_looks(networks)
    is_search = runs["frontier.below"].notna().any()  # its seeds have other depths: a line would join them
    for axes, (column, title) in zip(panels[0], PANELS.items(), strict=True):
        depth_axis(axes, sorted(runs["depth"].unique()))
        for place, (network, look) in enumerate(looks.items()):
            shift = beside(place, len(networks))
            line = look | ({"linestyle": ""} if is_search else {})
            draw_mean(axes, summary[summary["network"] == network], column, line, shift)
            draw_seeds(axes, runs[runs["network"] == network], column, look, shift)
        axes.set_title(title)
        axes.set_xlabel("depth (weighted layers)")
    panels[0, 0].set_ylabel("error (%)")
    error_axis(panels[0, 0], summary)

    handles = [Line2D([], [], label=network, **look) for network, look in looks.items()]
    style.legend_below(figure, handles + style.ending_handles(runs, ENDINGS), 3)
    return figure


def beside(place: int, count: int) -> float:
    """Where one of `count` networks stands beside its depth, in points; never so far that it seems to be at
    another depth."""
    return min(4.0, 14 / max(count - 1, 1)) * (place - (count - 1) / 2)


def draw_mean(axes: Axes, summary: pd.DataFrame, column: str, look: dict, shift: float) -> None:
    """A line through the means unless `look` says otherwise, and a bar at each."""
    mean, low, high = (summary[f"{column}_{key}"] for key in ("mean", "low", "high"))
    at = _moved(axes, shift, axes.transData)
    points = list(zip(summary["depth"], mean, low, high, strict=True))
    for (depth, error, *_), (deeper, other, *_) in pairwise(points if look.get("linestyle") != "" else []):
        with style.of_depth(axes, depth, deeper):
            axes.plot([depth, deeper], [error, other], **look | {"marker": ""}, transform=at)
    bar = {"fmt": "_", "markersize": 7, "color": look["color"], "capsize": 2.5, "elinewidth": 1}
    for depth, error, lowest, highest in points:
        with style.of_depth(axes, depth):
            axes.errorbar(depth, error, yerr=[[error - lowest], [highest - error]], **bar, transform=at)


def draw_seeds(axes: Axes, runs: pd.DataFrame, column: str, look: dict, shift: float) -> None:
    """A point a run. A seed stands at the same side of its depth in every network."""
    seeds = sorted(runs["seed"].unique())
    places = dict(
        zip(seeds, np.linspace(-1.5, 1.5, len(seeds)) if len(seeds) > 1 else [0] * len(seeds), strict=True)
    )
    for run in runs.itertuples():
        with style.of_depth(axes, run.depth):
            _draw_run(axes, run, getattr(run, column), look, shift + places[run.seed])


def _draw_run(axes: Axes, run, error: float, look: dict, aside: float) -> None:
    point = {"color": look["color"], "markeredgecolor": "white", "markeredgewidth": 0.4}
    if run.status in FINISHED:
        marker = style.MARKS.get(run.status, look["marker"])
        point["transform"] = _moved(axes, aside, axes.transData)
        size = 6.5 if run.status == "diverged" else 4
        axes.plot(run.depth, error, marker=marker, markersize=size, alpha=0.75, **point)
    else:  # no value to stand at: at the top edge
        point["transform"] = _moved(axes, aside, axes.get_xaxis_transform())
        axes.plot(run.depth, 0.98, marker=style.MARKS[run.status], clip_on=False, **point)


def _moved(axes: Axes, points: float, coordinates: Transform) -> Transform:
    """`coordinates`, moved sideways on paper."""
    return coordinates + ScaledTranslation(points / 72, 0, axes.figure.dpi_scale_trans)


def depth_axis(axes: Axes, depths: list[int]) -> None:
    """A tick a depth; logarithmic where depths differ more than tenfold."""
    first, last = depths[0], depths[-1]
    if last > 10 * first:
        axes.set_xscale("log")
        axes.set_xlim(first / 1.25, last * 1.25)
    else:
        margin = 0.1 * (last - first) or 1
        axes.set_xlim(first - margin, last + margin)
    axes.xaxis.set_major_locator(FixedLocator(depths))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    _turn_where_crowded(axes, depths)


def _turn_where_crowded(axes: Axes, depths: list[int]) -> None:
    """Depths that would touch each other stand upright."""
    scale = np.log if axes.get_xscale() == "log" else np.asarray
    places = scale(np.array(depths, float))
    width = 0.8 * 72 * axes.figure.get_figwidth() / axes.get_gridspec().ncols  # points, about
    gaps = np.diff(places) / np.ptp(scale(np.array(axes.get_xlim()))) * width
    texts = [style.CHARACTER * style.STYLE["xtick.labelsize"] * (len(str(depth)) + 1) for depth in depths]
    if any(gap < (a + b) / 2 for gap, a, b in zip(gaps, texts, texts[1:], strict=False)):
        axes.tick_params(axis="x", labelrotation=90)


def error_axis(axes: Axes, summary: pd.DataFrame) -> None:
    """From 0 to the highest seed or interval (moved points do not scale an axis by themselves)."""
    ends = summary[[f"{column}_{key}" for column in PANELS for key in ("high", "max")]]
    top = 1.06 * np.clip(ends.max().max(), 1, 100)
    axes.set_ylim(-0.02 * top, top)  # a point at 0 is seen whole
