"""Standard deviation of the layer responses, in layer order and sorted (He et al. 2015, Figure 7)."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from depthbench.analysis.layers import by_layer, last_step, sorted_layers
from depthbench.report import style
from depthbench.report.gradient_by_layer import draw_line, edge_handles, seeds_note
from depthbench.store import Results

COLUMN = "response_std"
CLASSIFIER = "fc"  # its stage: the paper shows the other layers only


def draw(results: Results) -> Figure | None:
    """The response's standard deviation at the last probed step, a panel a network, a line a depth."""
    layers = results.layers
    if COLUMN not in layers:
        return None
    layers = layers[(layers["stage"] != CLASSIFIER) & layers[COLUMN].notna()]
    if layers.empty:
        return None
    layers = last_step(layers)
    orders = {
        "layer (1 = input)": by_layer(layers, COLUMN),
        "rank (1 = greatest)": by_layer(sorted_layers(layers, COLUMN), COLUMN),
    }
    steps = sorted(layers["step"].unique())
    told = f"step {steps[0]:,}" if len(steps) == 1 else f"last probed step, {steps[0]:,} to {steps[-1]:,}"
    networks, colours = style.networks_of(layers), style.depth_colours(results.runs["depth"])
    known = style.seeds(orders["layer (1 = input)"]["n"])
    title = f"Standard deviation of layer responses, {told} (geometric mean and range of {known})"
    figure, panels = style.grid(2, len(networks), 1.9, title, sharex="row")
    if layers[COLUMN].max() > 100 * layers[COLUMN].min():
        panels[0, 0].set_yscale("log", nonpositive="mask")
    for row, (order, table) in zip(panels, orders.items(), strict=True):
        for axes, network in zip(row, networks, strict=True):
            for depth, line in table[table["network"] == network].groupby("depth"):
                draw_line(axes, line, "layer", colours[depth])
            axes.set_title(f"{network}, {'original' if table is orders['layer (1 = input)'] else 'sorted'}")
            axes.set_xlabel(order)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        row[0].set_ylabel("std of responses")
    if panels[0, 0].get_yscale() == "log":
        style.label_log(panels[0, 0])
    else:
        panels[0, 0].set_ylim(bottom=0)
    table = orders["layer (1 = input)"]
    handles = style.depth_handles(colours) + edge_handles(table)
    style.legend_below(figure, handles, note=seeds_note(table, results.runs))
    return figure
