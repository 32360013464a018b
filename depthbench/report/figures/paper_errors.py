"""Errors during training on the axes of He et al. 2015, Figure 6: plain left, residual right."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from depthbench.analysis.curves import mean_curves
from depthbench.analysis.protocol import has_default_options
from depthbench.analysis.reference import published_for
from depthbench.report import style
from depthbench.report.figures.curves import LINES
from depthbench.store.results import Results

PANELS = {"plain": "plain", "resnet": "ResNet"}  # network -> its name in the paper's legend
TOP = 20  # percent: what lies above leaves the panel
BELOW = 25  # points of 1/72 in, from a panel to its legend: the ticks and the name of the axis
ITERATIONS = 1e4  # of one unit of the x axis
MARK = {"marker": "<", "linestyle": "", "markersize": 4.5}  # of published end points
PAPER = "He2015"  # the source whose end points are marked


def draw(results: Results) -> Figure | None:
    """Test error (bold) and on-the-fly train error (thin dashed), the means over seeds, from 0 to 20 %."""
    runs, history, _ = results
    runs = runs[runs["network"].isin(PANELS)]
    runs = runs[[has_default_options(run) for run in runs.to_dict("records")]]
    if runs.empty or history.empty or not history["test_error"].notna().any():
        return None
    curves = {column: mean_curves(runs, history, column) for column in LINES}
    tests = curves["test_error"]
    if not tests["mean"].min() < TOP:  # no number is not below it either
        return None
    networks = [name for name in PANELS if name in set(runs["network"])]
    colours = style.depth_colours(results.runs["depth"])  # as in the other figures of the report
    of = f"{', '.join(runs['data.name'].dropna().unique())}, mean of {style.seeds(tests['n'])}"
    title = f"Error during training on the axes of He et al. 2015, Figure 6 ({of})"
    figure, panels = style.grid(1, len(networks), 2.9, title)
    unit = ITERATIONS if runs["steps"].max() >= ITERATIONS else 1  # a short run is a speck in the paper's
    tables = set()
    for axes, network in zip(panels[0], networks, strict=True):
        here = runs[runs["network"] == network].drop_duplicates("depth")
        for column, (_, look) in LINES.items():
            for depth, curve in curves[column].query("network == @network").groupby("depth"):
                alone = {}
                if len(curve) == 1:  # a point has no line, and is whole at the panel's edge
                    alone = {"marker": "o", "markersize": 4, "clip_on": curve["mean"].iloc[0] > TOP}
                with style.of_depth(axes, depth):
                    axes.plot(curve["step"] / unit, curve["mean"], color=colours[depth], **look, **alone)
        tables |= {_draw_published(axes, run, colours[run["depth"]]) for run in here.to_dict("records")}
        _name_depths(axes, network, {depth: colours[depth] for depth in sorted(here["depth"])})
    _as_in_the_paper(
        panels[0, 0], runs["steps"].max() / unit, "iterations (1e4)" if unit > 1 else "iterations"
    )

    handles = [Line2D([], [], color="#444444", label=name, **look) for name, look in LINES.values()]
    if told := sorted(tables - {None}):
        handles.append(Line2D([], [], color="#444444", label=f"published, {' and '.join(told)}", **MARK))
    style.legend_below(figure, handles, 3, note=_note(runs, tests))
    return figure


def _name_depths(axes: Axes, network: str, colours: dict[int, str]) -> None:
    """Each panel has its own legend, as in the paper, here below it."""
    handles = style.depth_handles(colours, f"{PANELS[network]}-")
    below = axes.transAxes + ScaledTranslation(0, -BELOW / 72, axes.figure.dpi_scale_trans)
    columns = style.fitting_columns(handles, 3, axes.figure.get_figwidth() / axes.get_gridspec().ncols)
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": below}
    style.are_of_depths(axes.legend(handles=handles, ncols=columns, **place), handles)
    style.name_panel(axes, network)


def _as_in_the_paper(axes: Axes, last: float, label: str) -> None:
    """The axes, which all panels share."""
    for panel in axes.figure.axes:
        panel.set_xlabel(label)
    axes.set_ylabel("error (%)")
    axes.set_ylim(0, TOP)
    axes.set_yticks(range(0, TOP + 1, 5))
    axes.set_xlim(0, last)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))


def _draw_published(axes: Axes, run: dict, colour: str) -> str | None:
    """Mark the paper's last test error of `run`'s network at the right edge; the table that it is in."""
    rows = published_for(run)
    rows = rows[
        rows["source"].str.startswith(PAPER) & (rows["metric"] == "test_error") & rows["bound"].isna()
    ]
    if rows.empty:
        return None
    edge = {"transform": axes.get_yaxis_transform(), "clip_on": False, "zorder": 3, "markeredgewidth": 0}
    with style.of_depth(axes, run["depth"]):
        axes.plot(1.015, rows["value"].iloc[0], color=colour, **MARK, **edge)
    return rows["table"].iloc[0]


def _note(runs: pd.DataFrame, tests: pd.DataFrame) -> str | None:
    """Names what these axes do not show or show but in part, if anything, and why."""
    lowest = tests.groupby(["network", "depth"])["mean"].min()
    told = {
        f"Test error never below {TOP} %": [],
        "Diverged, then at chance error": [],
        "No run has finished": [],
    }
    above, diverged, unfinished = told.values()
    for (network, depth), group in runs.groupby(["network", "depth"]):
        name, ended = f"{PANELS[network]}-{depth}", int((group["status"] == "diverged").sum())
        if (network, depth) not in lowest:
            unfinished.append(name)
        elif not lowest[network, depth] < TOP:
            above.append(name)
        if ended:
            diverged.append(f"{name} ({ended} of {len(group)})")
    return "\n".join(f"{words}: {', '.join(names)}" for words, names in told.items() if names) or None
