"""Errors during training on the axes of He et al. 2015, Figure 6: plain left, residual right."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from depthbench.analysis.curves import mean_curves
from depthbench.analysis.protocol import has_default_options
from depthbench.analysis.reference import published_for
from depthbench.analysis.rows import rows_of
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.figures.curves import LINES, described, line_handles
from depthbench.report.style import layout, legends, palette, tags, text

PANELS = {"plain": "plain", "resnet": "ResNet"}  # network -> its name in the paper's legend
TOP = 20  # percent: higher errors are outside the panel
BELOW = 25  # points from a panel to its legend, for the ticks and the axis label
ITERATIONS = 1e4  # per unit of the x axis
MARK: palette.Look = {"marker": "<", "linestyle": "", "markersize": 4.5}  # of published errors
PAPER = "He2015"  # the source whose errors are marked


def draw(evidence: Evidence) -> Figure | None:
    """Draw mean test error (bold) and train error during training (thin dashed), from 0 to 20 %."""
    runs, history = evidence.runs, evidence.history
    runs = runs[runs["network"].isin(PANELS)]
    runs = runs[[has_default_options(run) for run in rows_of(runs)]]
    if runs.empty or history.empty or not history["test_error"].notna().any():
        return None
    curves = {column: mean_curves(runs, history, column) for column in LINES}
    tests = curves["test_error"]
    if not tests["mean"].min() < TOP:  # also if it is NaN
        return None
    cells = runs.drop_duplicates(["network", "depth"])
    published = {(run["network"], run["depth"]): _published(run) for run in rows_of(cells)}
    below = pd.concat(curves.values()).query("mean < @TOP")
    drawn = set(zip(below["network"], below["depth"].astype(int), strict=True))
    drawn |= {cell for cell, row in published.items() if row is not None and row["value"] < TOP}
    networks = [name for name in PANELS if any(network == name for network, _ in drawn)]
    colours = palette.depth_colours(evidence.runs["depth"])  # as in the other figures
    data = ", ".join(runs["data.name"].dropna().unique())
    title = (
        "Error during training, as in Figure 6 of He et al. 2015 "
        f"({data}, mean of {text.seed_count(tests['n'])})"
    )
    figure, panels = layout.grid(1, len(networks), 2.9, title)
    # old results do not tell the planned steps
    last = max(
        pd.to_numeric(runs["steps"]).fillna(0).max(), *(each["step"].max() for each in curves.values())
    )
    unit = ITERATIONS if last >= ITERATIONS else 1  # a short run is too small for the paper's unit
    tables = set()
    for axes, network in zip(panels[0], networks, strict=True):
        depths = sorted(depth for name, depth in drawn if name == network)
        for column, (_, look) in LINES.items():
            for depth, curve in layout.by_depth(curves[column].query("network == @network")):
                line = look | {"color": colours[depth]}
                if len(curve) == 1:  # a marker, as it has no line; not cut off at the edge of the panel
                    clips = bool(curve["mean"].iloc[0] > TOP)
                    line |= {"marker": "o", "markersize": 4, "clip_on": clips}
                with tags.tagged(axes, depth, network=network):
                    (curve_line,) = axes.plot(curve["step"] / unit, curve["mean"], **line)
                    tags.describe(curve_line, described(curve, column, f"{PANELS[network]}-{depth}"))
        for depth in depths:
            if (row := published[network, depth]) is not None:
                with tags.tagged(axes, depth, network=network):
                    _draw_published(axes, row, f"{PANELS[network]}-{depth}", colours[depth])
                tables.add(row["table"])
        _name_depths(axes, network, {depth: colours[depth] for depth in depths})
    _as_in_the_paper(panels[0, 0], last / unit, "iterations (1e4)" if unit > 1 else "iterations")

    handles = line_handles()
    if tables:
        label = f"published, {' and '.join(sorted(tables))}"
        handles.append(Line2D([], [], label=label, **MARK | {"color": palette.GREY}))
    legends.legend_below(figure, handles, 3, note=_note(runs, tests))
    return figure


def _name_depths(axes: Axes, network: str, colours: dict[int, str]) -> None:
    """Draw a legend of depths below a panel. Each panel has its own legend, as in the paper."""
    handles = legends.depth_handles(colours, f"{PANELS[network]}-")
    below = axes.transAxes + ScaledTranslation(0, -BELOW / 72, axes.figure.dpi_scale_trans)
    columns = legends.fitting_columns(handles, 3, layout.column_width(axes))
    legend = axes.legend(
        handles=handles,
        ncols=columns,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=below,
    )
    tags.tag_legend(legend, handles)
    layout.set_panel_title(axes, network)


def _as_in_the_paper(axes: Axes, last: float, label: str) -> None:
    """Set the axes of the paper, which all panels share."""
    for panel in axes.figure.axes:
        panel.set_xlabel(label)
    axes.set_ylabel("error (%)")
    axes.set_ylim(0, TOP)
    axes.set_yticks(range(0, TOP + 1, 5))
    axes.set_xlim(0, last)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))


def _published(run: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the test error that the paper published of this network: a row of published.csv."""
    rows = published_for(run)
    rows = rows[
        rows["source"].str.startswith(PAPER) & (rows["metric"] == "test_error") & rows["bound"].isna()
    ]
    return next(iter(rows_of(rows)), None)


def _draw_published(axes: Axes, row: Mapping[str, Any], name: str, colour: str) -> None:
    """Mark a published test error at the right edge."""
    mark = MARK | {
        "color": colour,
        "transform": axes.get_yaxis_transform(),
        "clip_on": False,
        "zorder": 3,
        "markeredgewidth": 0,
    }
    (drawn,) = axes.plot(1, row["value"], **mark)
    tags.describe(drawn, tags.Series(f"{name}, published in {row['table']}", "", "test error", "%"))


def _note(runs: pd.DataFrame, tests: pd.DataFrame) -> str | None:
    """Name the networks that these axes show partly or not at all, and say why."""
    lowest = tests.groupby(["network", "depth"])["mean"].min().to_dict()
    reasons: dict[str, list[str]] = {
        f"Test error never below {TOP} %": [],
        "Diverged, then at chance error": [],
        "No run has finished": [],
    }
    above, diverged, unfinished = reasons.values()
    for (network, depth), group in runs.groupby(["network", "depth"]):
        name, ended = f"{PANELS[str(network)]}-{depth}", int((group["status"] == "diverged").sum())
        if (network, depth) not in lowest:
            unfinished.append(name)
        elif not lowest[network, depth] < TOP:
            above.append(name)
        if ended:
            diverged.append(f"{name} ({ended} of {len(group)})")
    return "\n".join(f"{words}: {', '.join(names)}" for words, names in reasons.items() if names) or None


FIGURE = ReportFigure(
    draw,
    title="Training curves, as in He et al. 2015",
    chapter="published",
    caption=(
        "Same axes and line styles as Figure 6 of He et al. 2015. Bold: test error. Thin dashed: train error "
        "measured during training. As in the paper, the axis ends at 20 %. Networks whose test error never "
        "falls below 20 % are named under the panels. If the data set is the paper's, markers at the right "
        "edge show the published errors."
    ),
    needs="a `plain` or `resnet` network with the options of He et al. 2015 and a test error below 20 %",
)
