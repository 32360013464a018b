"""Gradients and weights of early, middle and late layers during the first updates."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.analysis.first_steps import first_steps
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.figures.gradient_by_layer import draw_line, edge_handles, seeds_note
from depthbench.report.style import layout, legends, palette, tags, text, ticks

ROWS = {"grad_norm_preact": "L2 norm of dL/dz", "weight_norm": "L2 norm of W"}
POSITIONS = ("first", "middle", "last")


def draw(evidence: Evidence) -> Figure | None:
    """Draw the pre-activation gradient and the weight norm of three layers of the deepest networks."""
    layers = evidence.layers
    if any(column not in layers or not layers[column].notna().any() for column in ROWS):
        return None
    tables = {column: first_steps(layers, column) for column in ROWS}
    table = tables["grad_norm_preact"]
    steps = sorted(table["step"].unique())
    if len(steps) < 2:  # nothing has changed yet
        return None
    networks = layout.networks_of(layers)
    looks = {
        position: look | {"dashes": (None, None)}
        for position, look in palette.network_looks(POSITIONS).items()
    }
    seeds = text.seed_count(table["n"])
    title = f"First training steps of the deepest networks (geometric mean and range of {seeds})"
    figure, panels = layout.grid(len(ROWS), len(networks), 1.75, title, sharey="row")
    for row, (column, label) in zip(panels, ROWS.items(), strict=True):
        row[0].set_yscale("log", nonpositive="mask")
        for axes, network in zip(row, networks, strict=True):
            part = tables[column][tables[column]["network"] == network]
            for position, line in part.groupby("which_layer"):
                _draw_layer(axes, line, looks[str(position)])
            layout.set_panel_title(axes, f"{network}, depth {part['depth'].max()}" if len(part) else network)
            if len(part):
                tags.tag(axes, part["depth"].max())
        layout.label_left(row, label)
        ticks.label_log(row[0])
    for axes in panels[-1]:
        axes.set_xlabel("step (updates made)")
        axes.set_xticks(range(len(steps)), [text.short_count(step) for step in steps])
    names = {"first": "layer 2", "middle": "middle layer", "last": "last layer before the classifier"}
    handles = [Line2D([], [], label=names[position], **looks[position]) for position in POSITIONS]
    legends.legend_below(figure, handles + edge_handles(table), note=seeds_note(table, evidence.runs))
    return figure


def _draw_layer(axes: Axes, line: pd.DataFrame, look: palette.Look) -> None:
    """Draw one layer over the steps."""
    draw_line(axes, line, "order", {"color": look["color"]})
    axes.plot(
        line["order"],
        line["mean"],
        color=look["color"],
        marker=look["marker"],
        markersize=3.5,
        linestyle="",
    )


FIGURE = ReportFigure(
    draw,
    title="First training steps",
    chapter="gradients",
    caption=(
        "Gradient norm (top) and weight norm (bottom) of three layers during the first training steps. The "
        "axis spaces the probed steps evenly. In a deep plain network with batch normalisation, the early "
        "layers start with by far the largest gradient. The first updates make their weights so large that "
        "their later gradients vanish, because the effective learning rate of a normalised layer falls with "
        "the square of its weight norm. In most residual networks, the lines stay close together."
    ),
    needs="the probes `grad_norm_preact` and `weight_norm` at two or more of the steps 0 to 100",
)
