"""Standard deviation of the layer responses, in layer order and sorted (He et al. 2015, Figure 7)."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from depthbench.analysis.layers import CLASSIFIER, KEYS, by_layer, last_step, sorted_layers, with_values
from depthbench.probes.columns import NOT_MEASURED
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.figures.gradient_by_layer import (
    background_handles,
    draw_background,
    draw_depths,
    edge_handles,
    seeds_note,
)
from depthbench.report.figures.twins import twins_of
from depthbench.report.style import canvas, layout, legends, palette, tags, text, ticks

COLUMN = "response_std"


def draw(evidence: Evidence) -> Figure | None:
    """Draw the standard deviation of the responses at the last probed step, one panel per network."""
    runs, layers = evidence.runs, evidence.layers
    if COLUMN not in layers:
        return None
    columns = ["run_id", *KEYS, COLUMN, *({NOT_MEASURED} & set(layers))]
    layers = layers.loc[layers["stage"] != CLASSIFIER, columns]
    is_known = layers.index.isin(with_values(layers, COLUMN).index)
    layers = last_step(layers, pd.Series(is_known, layers.index))
    if layers.empty:
        return None
    orders = {
        "layer (1 = input)": by_layer(layers, COLUMN),
        "rank (1 = largest)": by_layer(sorted_layers(layers, COLUMN), COLUMN),
    }
    if canvas.is_slide():
        orders.popitem()
    steps = sorted(layers["step"].unique())
    when = f"step {steps[0]:,}" if len(steps) == 1 else f"last probed step, {steps[0]:,} to {steps[-1]:,}"
    networks, twins = layout.networks_of(layers), twins_of(evidence.twins)
    colours = palette.chosen_depth_colours(sorted(runs["depth"].unique()))
    seeds = text.seed_count(orders["layer (1 = input)"]["n"])
    title = f"Layer responses, {when} (geometric mean and range of {seeds})"
    figure, panels = layout.grid(
        len(orders), len(networks), 1.9, title, sharex="row" if len(orders) > 1 else True
    )
    known = layers.loc[np.isfinite(layers[COLUMN].astype(float)), COLUMN]
    if known.max() > 100 * known.min():
        panels[0, 0].set_yscale("log", nonpositive="mask")
    for row, (order, table) in zip(panels, orders.items(), strict=True):
        for axes, network in zip(row, networks, strict=True):
            tags.tag(axes, network=network)
            draw_background(axes, table[table["network"] == twins.get(network)], "layer")
            part = table[table["network"] == network]
            word = order.partition(" ")[0]
            draw_depths(
                axes, part, "layer", colours=colours, network=network, unit="standard deviation", word=word
            )
            shown = "layer order" if word == "layer" else "sorted"
            layout.set_panel_title(axes, f"{network}, {shown}" if len(orders) > 1 else network)
            axes.xaxis.set_major_locator(ticks.FromOne(6, integer=True))
        layout.label_left(row, "standard deviation")
        layout.label_bottom(row, order)
    if panels[0, 0].get_yscale() == "log":
        ticks.label_log(panels[0, 0])
    else:
        panels[0, 0].set_ylim(bottom=0)
    table = orders["layer (1 = input)"]
    twins = {network: twin for network, twin in twins.items() if twin in networks}
    handles = [
        *legends.depth_handles(palette.named_depths(colours)),
        *background_handles(colours, twins),
        *edge_handles(table),
    ]
    sorted_note = None if len(orders) > 1 else "The page also shows the values from largest to smallest"
    note = "\n".join(filter(None, [seeds_note(table, runs), sorted_note])) or None
    legends.legend_below(figure, handles, note=note)
    return figure


FIGURE = ReportFigure(
    draw,
    title="Standard deviation of the layer responses",
    chapter="layers",
    caption=(
        "Standard deviation of each layer's response at the last probed step, without the classifier. "
        "The values are in the order of the layers, and from largest to smallest, as in Figure 7 "
        "of He et al. 2015. The authors interpret lower values in a residual network as layers that change "
        "their input less."
    ),
    needs="the probe `response_std`",
    probes=("response_std",),
)
