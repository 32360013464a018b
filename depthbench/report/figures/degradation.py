"""Final errors against depth: does depth alone make a network harder to train?"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, ScalarFormatter

from depthbench.analysis import FINISHED
from depthbench.analysis.intervals import MIN_SEEDS
from depthbench.analysis.rows import rows_of
from depthbench.report.entries import ANSWER, ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.figures.errors_by_network import are_many, draw_rows
from depthbench.report.figures.twins import twins_of
from depthbench.report.style import canvas, layout, legends, palette, tags, text

PANELS = {
    "train_error_eval": "train error, evaluation mode",
    "test_error": "test error",
}
TEXTS = {"train_error_eval": "train error", "test_error": "test error"}
MOST_LINES = 6  # networks in one panel; more cannot be told apart
MANY_SEEDS = 10  # at one depth
LINE_HEIGHT = 1.2  # of a tick label, relative to its size
CONTEXT: palette.Look = {"color": palette.BACKGROUND, "linewidth": 0.8, "zorder": 1}
TWIN: palette.Look = {"color": palette.GREY, "linewidth": 0.8, "dashes": (2, 1.5), "zorder": 1.5}
ENDINGS = {
    "diverged": "diverged, counted at chance error",
    "failed": "failed, no final error",
    "interrupted": "interrupted, no final error",
}


def draw(evidence: Evidence) -> Figure | None:
    """Draw the final train and test error (percent) against depth: every seed, and their mean.

    Many networks get a panel each, and many networks with one depth each get a row each."""
    runs, summary = evidence.runs, evidence.summary
    if not (evidence.is_trained and has_errors(runs)):
        return None
    networks = layout.networks_of(runs)
    counts = summary.loc[summary["n"] > 0, "n"]
    heading = statistics(counts)
    if are_many(runs):
        figure, colours = draw_rows(runs, summary, panels_of(evidence), f"Final error ({heading})")
        legends.legend_below(figure, legends.depth_handles(colours) + legends.status_handles(runs, ENDINGS))
        return figure
    if len(networks) > MOST_LINES:
        return _draw_each_network(evidence, heading)
    titles = panels_of(evidence)
    figure, panels = layout.grid(1, len(titles), 2.6, f"Final error against depth ({heading})")
    looks = palette.network_looks(networks)
    for axes, (column, title) in zip(panels[0], titles.items(), strict=True):
        depth_axis(axes, sorted(runs["depth"].unique()))
        for network, look in looks.items():
            draw_network(axes, evidence, network, column=column, look=look)
        axes.set_title(title)
        axes.set_xlabel(text.depth_label(runs["family"]))
    panels[0, 0].set_ylabel(text.error_label(evidence.predicts))
    error_axis(panels[0, 0], summary)
    legends.legend_below(figure, legends.network_handles(looks) + legends.status_handles(runs, ENDINGS), 3)
    return figure


def has_errors(runs: pd.DataFrame) -> bool:
    """Return whether a finished run has one of the errors in PANELS. A watched loop may log none of them."""
    finished = runs.loc[runs["status"].isin(FINISHED), [*PANELS]]
    return bool(np.isfinite(finished.to_numpy(float)).any())


def panels_of(evidence: Evidence) -> dict[str, str]:
    """Return the error in each panel -> the title of the panel.

    For runs of another loop (`depthbench.watch`), the title says "as logged", and errors that it did not log
    are left out."""
    if "watched" not in evidence.study:
        return PANELS
    titles = PANELS | {"train_error_eval": "train error, as logged"}
    known = {error: title for error, title in titles.items() if evidence.runs[error].notna().any()}
    return known or titles


def _draw_each_network(evidence: Evidence, heading: str) -> Figure:
    """Draw the train error in a panel for each network, with its twin and all others in the background."""
    runs, summary = evidence.runs, evidence.summary
    networks = layout.networks_of(runs)
    column, title = next(iter(panels_of(evidence).items()))
    figure, panels = layout.flow(len(networks), 1.6, f"Final {title}, against depth ({heading})")
    looks, twins = palette.network_looks(networks), twins_of(evidence.twins)
    for axes, network in zip(panels.flat, networks, strict=False):
        for other in networks:
            line = TWIN if other == twins.get(network) else CONTEXT
            table = summary[summary["network"] == other]
            axes.plot(table["depth"], table[f"{column}_mean"], **line)
        draw_network(axes, evidence, network, column=column, look=looks[network])
        depth_axis(axes, sorted(runs["depth"].unique()))
        layout.set_panel_title(axes, network)
        tags.tag(axes, network=network)
    layout.label_outer(panels, networks, x="depth", y=text.error_label(evidence.predicts))
    error_axis(panels[0, 0], summary)
    handles = [Line2D([], [], label="its twin", **TWIN)] if twins else []
    handles += [Line2D([], [], label="the other networks", **CONTEXT), *legends.status_handles(runs, ENDINGS)]
    legends.legend_below(figure, handles, 4)
    return figure


def statistics(counts: Iterable[int]) -> str:
    """Say what a figure shows of groups of this many seeds, e.g. `each seed and the mean of 3 seeds`."""
    counts = [int(n) for n in counts]
    seeds = text.seed_count(counts)
    if seeds == "1 seed":
        return seeds
    bars = ", with the 95 % interval of the mean" if max(counts) >= MIN_SEEDS else ""
    return f"each seed and the mean of {seeds}{bars}"


def draw_network(axes: Axes, evidence: Evidence, network: str, *, column: str, look: palette.Look) -> None:
    """Draw `column` of one network against depth: a line through the means, and a point per run."""
    runs, summary = evidence.runs, evidence.summary
    is_search = runs["frontier.below"].notna().any()  # seeds differ by depth: draw no lines
    line = look | ({"linestyle": ""} if is_search else {})
    draw_mean(axes, summary[summary["network"] == network], column, look=line, network=network)
    draw_seeds(axes, runs[runs["network"] == network], column, look=look, network=network)


def draw_mean(axes: Axes, summary: pd.DataFrame, column: str, *, look: palette.Look, network: str) -> None:
    """Draw a line through the means unless `look` has none, and the interval of each mean if it has one."""
    mean, low, high = (summary[f"{column}_{key}"] for key in ("mean", "low", "high"))
    points = list(zip(summary["depth"], mean, low, high, strict=True))
    for (depth, error, *_), (deeper, other, *_) in pairwise(points if look.get("linestyle") != "" else []):
        with tags.tagged(axes, depth, deeper, network=network):
            axes.plot([depth, deeper], [error, other], **look | {"marker": ""})
    for depth, error, lowest, highest in points:
        if not np.isfinite(lowest):
            continue
        with tags.tagged(axes, depth, network=network):
            bars = [[error - lowest], [highest - error]]
            axes.errorbar(
                depth, error, yerr=bars, fmt="_", markersize=7, color=look["color"], capsize=2.5, elinewidth=1
            )


def draw_seeds(
    axes: Axes, runs: pd.DataFrame, column: str, *, look: palette.Look, network: str, name: str | None = None
) -> None:
    """Draw a point per run. A run without an error is marked at the top edge.

    `network` is what the points are marked with, and `name` what the page calls them: by default the same."""
    for alike in _alike(runs):
        depth, status = alike[0]["depth"], alike[0]["status"]
        point: palette.Look = {
            "color": look["color"],
            "markeredgecolor": canvas.PAPER,
            "markeredgewidth": 0.4,
        }
        described, x, seeds = f"{name or network}, depth {depth}", "", None
        if len(alike) == 1:
            described += f", seed {alike[0]['seed']}"
        else:
            x, seeds, point = "seed", [run["seed"] for run in alike], point | {"linestyle": ""}
        error, depths = TEXTS[column], [depth] * len(alike)
        with tags.tagged(axes, depth, network=network):
            if status in FINISHED:
                marker = palette.STATUS_MARKERS.get(status, look["marker"])
                size = 6.5 if status == "diverged" else 4
                errors = [run[column] for run in alike]
                (drawn,) = axes.plot(depths, errors, marker=marker, markersize=size, alpha=0.75, **point)
                ending = "" if status == "done" else f" ({status})"
                tags.describe(drawn, tags.Series(described + ending, x, error, "%", xs=seeds))
            else:
                point |= {"transform": axes.get_xaxis_transform(), "clip_on": False}
                heights = [0.98] * len(alike)
                (drawn,) = axes.plot(depths, heights, marker=palette.STATUS_MARKERS[status], **point)
                statuses = [status] * len(alike)
                tags.describe(drawn, tags.Series(described, x, "status", xs=seeds, ys=statuses))


def _alike(runs: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """Group the runs that are drawn as one object: each alone, or of many seeds those of a depth and status.

    Thousands of objects would take long to draw, and their description would fill most of the page."""
    rows = rows_of(runs)
    if runs.groupby("depth").size().max() <= MANY_SEEDS:
        return [[row] for row in rows]
    groups: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["depth"], row["status"]), []).append(row)
    return list(groups.values())


def depth_axis(axes: Axes, depths: list[int]) -> None:
    """Set a tick at each depth, without a label if it would cover that of the depth before.

    The axis is logarithmic if depths differ more than tenfold."""
    first, last = depths[0], depths[-1]
    if last > 10 * first:
        axes.set_xscale("log")
        axes.set_xlim(first / 1.25, last * 1.25)
    else:
        margin = 0.1 * (last - first) or 1
        axes.set_xlim(first - margin, last + margin)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    labelled = _label_depths(axes, depths)
    axes.xaxis.set_major_locator(FixedLocator(labelled))
    axes.xaxis.set_minor_locator(FixedLocator(sorted(set(depths) - set(labelled))))


def _label_depths(axes: Axes, depths: list[int]) -> list[int]:
    """Return the depths whose tick labels do not overlap. Rotates the labels if that makes space for more."""
    scale = np.log if axes.get_xscale() == "log" else np.asarray
    width = 0.8 * 72 * layout.column_width(axes)  # points, approximately
    places = scale(np.array(depths, float)) / np.ptp(scale(np.array(axes.get_xlim()))) * width
    size = canvas.RC["xtick.labelsize"]
    texts = [text.CHARACTER * size * (len(str(depth)) + 1) for depth in depths]
    if all(gap >= (a + b) / 2 for gap, a, b in zip(np.diff(places), texts, texts[1:], strict=False)):
        return depths
    axes.tick_params(axis="x", labelrotation=90)
    labelled, end = [], -np.inf
    for depth, place in zip(depths, places, strict=True):
        if place >= end:
            labelled.append(depth)
            end = place + LINE_HEIGHT * size
    return labelled


def error_axis(axes: Axes, summary: pd.DataFrame) -> None:
    """Scale from 0 to the highest seed or interval, or to 100 % if there is none."""
    ends = summary[[f"{column}_{key}" for column in PANELS for key in ("high", "max")]].to_numpy(float)
    known = ends[np.isfinite(ends)]
    top = 1.06 * np.clip(known.max() if known.size else 100, 1, 100)
    axes.set_ylim(-0.02 * top, top)  # show all of a point at 0


FIGURE = ReportFigure(
    draw,
    title="Degradation",
    chapter=ANSWER,
    caption=(
        "Error of each run at its last evaluation against depth. Each point is one seed, and the line "
        "connects the means. "
        "From 5 seeds on, a bar is the 95 % interval of the mean. A train error that rises with depth is "
        "degradation. Overfitting would raise only the test error."
    ),
    needs="a finished run with a train or test error, and a network that trains better than chance",
)
