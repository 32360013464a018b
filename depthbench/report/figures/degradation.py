"""Final errors against depth: does depth alone make a network harder to train?"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter
from matplotlib.transforms import ScaledTranslation, Transform

from depthbench.analysis import FINISHED
from depthbench.analysis.rows import rows_of
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.figures.errors_by_network import are_many, draw_rows
from depthbench.report.style import canvas, layout, legends, palette, tags, text

PANELS = {
    "train_error_eval": "train error, evaluation mode",
    "test_error": "test error",
}
ENDINGS = {
    "diverged": "diverged, counted at chance error",
    "failed": "failed, no final error",
    "interrupted": "interrupted, no final error",
}


def draw(evidence: Evidence) -> Figure | None:
    """Draw the final train and test error (percent): every seed, their mean and 95 % t interval.

    If there are many networks with one depth, each network gets a row."""
    runs, summary = evidence.runs, evidence.summary
    if not runs["status"].isin(FINISHED).any():
        return None
    networks = layout.networks_of(runs)
    seeds = text.seed_count(summary.loc[summary["n"] > 0, "n"])
    statistics = seeds if seeds == "1 seed" else f"each seed, mean and 95 % t interval of {seeds}"
    if are_many(runs):
        figure, colours = draw_rows(runs, summary, PANELS, f"Final error ({statistics})")
        legends.legend_below(figure, legends.depth_handles(colours) + legends.status_handles(runs, ENDINGS))
        return figure
    figure, panels = layout.grid(1, 2, 2.6, f"Final error against depth ({statistics})")
    looks = palette.network_looks(networks)
    is_search = runs["frontier.below"].notna().any()  # depths have different seeds, so a line would mislead
    for axes, (column, title) in zip(panels[0], PANELS.items(), strict=True):
        depth_axis(axes, sorted(runs["depth"].unique()))
        for index, (network, look) in enumerate(looks.items()):
            shift = sideways(index, len(networks))
            line = look | ({"linestyle": ""} if is_search else {})
            draw_mean(axes, summary[summary["network"] == network], column, look=line, shift=shift)
            draw_seeds(axes, runs[runs["network"] == network], column, look=look, shift=shift)
        axes.set_title(title)
        axes.set_xlabel("depth (weighted layers)")
    panels[0, 0].set_ylabel("error (%)")
    error_axis(panels[0, 0], summary)

    handles = [Line2D([], [], label=network, **look) for network, look in looks.items()]
    legends.legend_below(figure, handles + legends.status_handles(runs, ENDINGS), 3)
    return figure


def sideways(index: int, count: int) -> float:
    """Return the horizontal offset (points) of network `index` of `count` from its depth."""
    width = min(4.0, 14 / max(count - 1, 1))  # small enough not to look like another depth
    return width * (index - (count - 1) / 2)


def draw_mean(axes: Axes, summary: pd.DataFrame, column: str, *, look: palette.Look, shift: float) -> None:
    """Draw a bar at each mean, and a line through the means unless `look` has no line."""
    mean, low, high = (summary[f"{column}_{key}"] for key in ("mean", "low", "high"))
    at = _moved(axes, shift, axes.transData)
    points = list(zip(summary["depth"], mean, low, high, strict=True))
    for (depth, error, *_), (deeper, other, *_) in pairwise(points if look.get("linestyle") != "" else []):
        with tags.tagged(axes, depth, deeper):
            axes.plot([depth, deeper], [error, other], **look | {"marker": ""}, transform=at)
    for depth, error, lowest, highest in points:
        with tags.tagged(axes, depth):
            axes.errorbar(
                depth,
                error,
                yerr=[[error - lowest], [highest - error]],
                fmt="_",
                markersize=7,
                color=look["color"],
                capsize=2.5,
                elinewidth=1,
                transform=at,
            )


def draw_seeds(axes: Axes, runs: pd.DataFrame, column: str, *, look: palette.Look, shift: float) -> None:
    """Draw a point per run. A seed has the same offset from its depth in every network."""
    seeds = sorted(runs["seed"].unique())
    offsets = dict(
        zip(seeds, np.linspace(-1.5, 1.5, len(seeds)) if len(seeds) > 1 else [0] * len(seeds), strict=True)
    )
    for run in rows_of(runs):
        with tags.tagged(axes, run["depth"]):
            _draw_run(axes, run, run[column], look=look, offset=shift + offsets[run["seed"]])


def _draw_run(axes: Axes, run: Mapping[str, Any], error: float, *, look: palette.Look, offset: float) -> None:
    depth, status = run["depth"], run["status"]
    point: palette.Look = {"color": look["color"], "markeredgecolor": "white", "markeredgewidth": 0.4}
    if status in FINISHED:
        marker = palette.STATUS_MARKERS.get(status, look["marker"])
        point["transform"] = _moved(axes, offset, axes.transData)
        size = 6.5 if status == "diverged" else 4
        axes.plot(depth, error, marker=marker, markersize=size, alpha=0.75, **point)
    else:  # no error: at the top edge
        point["transform"] = _moved(axes, offset, axes.get_xaxis_transform())
        axes.plot(depth, 0.98, marker=palette.STATUS_MARKERS[status], clip_on=False, **point)


def _moved(axes: Axes, points: float, coordinates: Transform) -> Transform:
    """Move `coordinates` sideways by some points."""
    return coordinates + ScaledTranslation(points / 72, 0, axes.figure.dpi_scale_trans)


def depth_axis(axes: Axes, depths: list[int]) -> None:
    """Set a tick at each depth. The axis is logarithmic if depths differ more than tenfold."""
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
    _rotate_if_crowded(axes, depths)


def _rotate_if_crowded(axes: Axes, depths: list[int]) -> None:
    """Rotate tick labels that would overlap."""
    scale = np.log if axes.get_xscale() == "log" else np.asarray
    positions = scale(np.array(depths, float))
    width = 0.8 * 72 * layout.column_width(axes)  # points, approximately
    gaps = np.diff(positions) / np.ptp(scale(np.array(axes.get_xlim()))) * width
    texts = [text.CHARACTER * canvas.RC["xtick.labelsize"] * (len(str(depth)) + 1) for depth in depths]
    if any(gap < (a + b) / 2 for gap, a, b in zip(gaps, texts, texts[1:], strict=False)):
        axes.tick_params(axis="x", labelrotation=90)


def error_axis(axes: Axes, summary: pd.DataFrame) -> None:
    """Scale from 0 to the highest seed or interval; autoscaling would ignore shifted points."""
    ends = summary[[f"{column}_{key}" for column in PANELS for key in ("high", "max")]]
    top = 1.06 * np.clip(ends.max().max(), 1, 100)
    axes.set_ylim(-0.02 * top, top)  # show all of a point at 0


FIGURE = ReportFigure(
    draw,
    title="Degradation",
    caption=(
        "Final error of each run against depth. Each point is one seed. A short stroke marks the mean at "
        "each depth, a line connects the means, and a bar shows the 95 % t interval of the mean. If the "
        "train error rises with depth, depth itself makes the network harder to train. This is degradation. "
        "Overfitting, in contrast, would raise only the test error."
    ),
    needs="a finished run",
)
