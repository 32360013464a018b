"""Standard deviation of the layer responses, in layer order and sorted (He et al. 2015, Figure 7)."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from depthbench.analysis.layers import CLASSIFIER, by_layer, last_step, sorted_layers
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.figures.gradient_by_layer import draw_line, edge_handles, seeds_note
from depthbench.report.style import layout, legends, palette, tags, text, ticks

COLUMN = "response_std"
DASHES: dict[str, tuple[float | None, ...]] = {
    "plain": (4, 2),
    "residual": (None, None),
}  # of twins that share a panel


def draw(evidence: Evidence) -> Figure | None:
    """Draw the standard deviation of the responses at the last probed step. Twins share a panel."""
    runs, layers = evidence.runs, evidence.layers
    if COLUMN not in layers:
        return None
    layers = layers[(layers["stage"] != CLASSIFIER) & layers[COLUMN].notna()]
    if layers.empty:
        return None
    layers = last_step(layers)
    orders = {
        "layer (1 = input)": by_layer(layers, COLUMN),
        "rank (1 = largest)": by_layer(sorted_layers(layers, COLUMN), COLUMN),
    }
    steps = sorted(layers["step"].unique())
    when = f"step {steps[0]:,}" if len(steps) == 1 else f"last probed step, {steps[0]:,} to {steps[-1]:,}"
    columns = group_twins(evidence.twins, layout.networks_of(layers))
    colours = palette.depth_colours(runs["depth"])
    seeds = text.seed_count(orders["layer (1 = input)"]["n"])
    title = f"Layer responses, {when} (geometric mean and range of {seeds})"
    figure, panels = layout.grid(2, len(columns), 1.9, title, sharex="row")
    if layers[COLUMN].max() > 100 * layers[COLUMN].min():
        panels[0, 0].set_yscale("log", nonpositive="mask")
    for row, (order, table) in zip(panels, orders.items(), strict=True):
        for axes, networks in zip(row, columns, strict=True):
            for network, kind in reversed(networks.items()):  # dashed lines on top hide less
                lines = list(layout.by_depth(table[table["network"] == network]))
                for depth, line in reversed(lines):  # otherwise deep networks hide the others
                    with tags.tagged(axes, depth):
                        look: palette.Look = {"color": colours[depth], "dashes": DASHES[kind]}
                        draw_line(axes, line, "layer", look)
            shown = "layer order" if table is orders["layer (1 = input)"] else "sorted"
            layout.set_panel_title(axes, f"{' and '.join(networks)}, {shown}")
            axes.set_xlabel(order)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        layout.label_left(row, "standard deviation")
    if panels[0, 0].get_yscale() == "log":
        ticks.label_log(panels[0, 0])
    else:
        panels[0, 0].set_ylim(bottom=0)
    table = orders["layer (1 = input)"]
    handles = legends.depth_handles(colours)
    if any(len(networks) > 1 for networks in columns):
        handles += [Line2D([], [], color=palette.GREY, label=k, dashes=d) for k, d in DASHES.items()]
    handles += edge_handles(table)
    in_a_row = 6 if len(handles) <= 6 else len(colours)
    legends.legend_below(figure, handles, in_a_row, note=seeds_note(table, runs))
    return figure


def group_twins(twins: pd.DataFrame, networks: Sequence[str]) -> list[dict[str, str]]:
    """Return the networks of each panel, name -> key of DASHES.

    Twins (`analysis.matching.match_twins`) share a panel if neither has another twin."""
    columns = {network: {network: "residual"} for network in networks}
    pairs = twins[["network", "twin"]].drop_duplicates()
    for plain, residual in pairs.itertuples(index=False):
        if columns.get(plain, {}).keys() == {plain} and columns.get(residual, {}).keys() == {residual}:
            columns[plain] = {plain: "plain", residual: "residual"}
            del columns[residual]
    return list(columns.values())


FIGURE = ReportFigure(
    draw,
    title="Standard deviation of the layer responses",
    chapter="layers",
    caption=(
        "Standard deviation of each layer's response at the last probed step. Top: in the order of the "
        "layers. Bottom: the same values from largest to smallest, as in Figure 7 of He et al. 2015. A plain "
        "network and its residual twin share a panel, and the plain one is dashed. In a residual network, "
        "lower values mean that each layer changes its input less. The classifier is omitted."
    ),
    needs="the probe `response_std`",
)
