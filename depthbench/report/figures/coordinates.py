"""The coordinate check: size and change of the activations along networks of several depths."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from depthbench.analysis.coordinates import LOGITS, by_position
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.style import layout, legends, palette, tags, text, ticks

AT_LOGITS = 1.12  # their place on the axis
ROWS = {"size": "size (rms)", "change": "change (rms)"}


def draw(evidence: Evidence) -> Figure | None:
    """Draw the root mean square of each block's output and of the logits, one line per depth."""
    table = by_position(evidence.coordinates)
    if table.empty:
        return None
    networks = layout.networks_of(table)
    colours = palette.depth_colours(evidence.runs["depth"])
    seeds = text.seed_count(table["n"])
    last = int(table["step"].max())
    updates = f"{last:,} update{'s'[: last > 1]}"
    title = f"Activations, and their change after {updates} (geometric mean and range of {seeds})"
    figure, panels = layout.grid(len(ROWS), len(networks), 1.8, title, sharey="row")
    for row, (quantity, label) in zip(panels, ROWS.items(), strict=True):
        for axes, network in zip(row, networks, strict=True):
            axes.set_yscale("log")
            part = table[(table["network"] == network) & (table["quantity"] == quantity)]
            for depth, line in layout.by_depth(part):
                with tags.tagged(axes, depth, network=network):
                    _draw_line(axes, line, colours[depth], name=f"{network}, depth {depth}", label=label)
            when = "before training" if quantity == "size" else f"after {updates}"
            layout.set_panel_title(axes, f"{network}, {when}")
            tags.tag(axes, network=network)
        ticks.label_log(row[0])
        layout.label_left(row, label)
    for axes in panels[-1]:
        axes.set_xticks([0, 0.5, 1, AT_LOGITS], ["0", "0.5", "1", "logits"])
        axes.set_xlim(0, AT_LOGITS + 0.04)
    layout.label_bottom(panels[-1], "block / all blocks")
    legends.legend_below(figure, legends.depth_handles(colours))
    return figure


def _draw_line(axes: Axes, line: pd.DataFrame, colour: str, *, name: str, label: str) -> None:
    """Draw the blocks of one depth as a line with the range over seeds, and the logits as a point."""
    described = f"{name}, {text.mean_of(int(line['n'].max()))}"
    blocks = line[line["part"] != LOGITS].sort_values("position")
    logits = line[line["part"] == LOGITS]
    (drawn,) = axes.plot(blocks["position"], blocks["mean"], color=colour, marker="o", markersize=2)
    axes.fill_between(
        blocks["position"], blocks["low"], blocks["high"], color=colour, alpha=0.13, linewidth=0
    )
    (point,) = axes.plot([AT_LOGITS] * len(logits), logits["mean"], color=colour, marker="D", linestyle="")
    tags.describe(drawn, tags.Series(described, "block / all blocks", label))
    tags.describe(point, tags.Series(f"{described}, logits", "", label))


FIGURE = ReportFigure(
    draw,
    title="Coordinate check",
    chapter="layers",
    caption=(
        "Root mean square of the output of each residual block and of the logits on a fixed batch, before "
        "training and as a difference after the first updates, against the position of the block. The band "
        "is the range over seeds. If the lines of all depths coincide, the size of activations and updates "
        "does not depend on the depth. Lines that move up with depth show updates that are too large for "
        "deep networks."
    ),
)
