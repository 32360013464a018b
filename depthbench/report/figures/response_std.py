"""Standard deviation of the layer responses, in layer order and sorted (He et al. 2015, Figure 7)."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from depthbench.analysis.layers import CLASSIFIER, by_layer, last_step, sorted_layers
from depthbench.analysis.matching import match_twins
from depthbench.report import style
from depthbench.report.figures.gradient_by_layer import draw_line, edge_handles, seeds_note
from depthbench.store.results import Results

COLUMN = "response_std"
DASHES = {"plain": (4, 2), "residual": (None, None)}  # of twins, which share a panel


def draw(results: Results) -> Figure | None:
    """The response's standard deviation at the last probed step, a line a depth; twins share a panel."""
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
    columns = twins_together(results, style.networks_of(layers))
    colours = style.depth_colours(results.runs["depth"])
    known = style.seeds(orders["layer (1 = input)"]["n"])
    title = f"Layer responses, {told} (geometric mean and range of {known})"
    figure, panels = style.grid(2, len(columns), 1.9, title, sharex="row")
    if layers[COLUMN].max() > 100 * layers[COLUMN].min():
        panels[0, 0].set_yscale("log", nonpositive="mask")
    for row, (order, table) in zip(panels, orders.items(), strict=True):
        for axes, networks in zip(row, columns, strict=True):
            for network, kind in reversed(networks.items()):  # dashes on top hide nothing
                lines = dict(list(table[table["network"] == network].groupby("depth")))
                for depth, line in reversed(lines.items()):  # the deep ones would hide the others
                    with style.of_depth(axes, depth):
                        draw_line(axes, line, "layer", colours[depth], dashes=DASHES[kind])
            shown = "original" if table is orders["layer (1 = input)"] else "sorted"
            style.name_panel(axes, f"{' and '.join(networks)}, {shown}")
            axes.set_xlabel(order)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        style.label_left(row, "standard deviation")
    if panels[0, 0].get_yscale() == "log":
        style.label_log(panels[0, 0])
    else:
        panels[0, 0].set_ylim(bottom=0)
    table = orders["layer (1 = input)"]
    handles = style.depth_handles(colours)
    if any(len(networks) > 1 for networks in columns):
        handles += [Line2D([], [], color="#444444", label=k, dashes=d) for k, d in DASHES.items()]
    handles += edge_handles(table)
    in_a_row = 6 if len(handles) <= 6 else len(colours)
    style.legend_below(figure, handles, in_a_row, note=seeds_note(table, results.runs))
    return figure


def twins_together(results: Results, networks: list[str]) -> list[dict[str, str]]:
    """The networks of each panel, name -> key of DASHES: twins together, where each is but one's twin."""
    columns = {network: {network: "residual"} for network in networks}
    twins = match_twins(results.runs, results.history)[["network", "twin"]].drop_duplicates()
    for plain, residual in twins.itertuples(index=False):
        if columns.get(plain, {}).keys() == {plain} and columns.get(residual, {}).keys() == {residual}:
            columns[plain] = {plain: "plain", residual: "residual"}
            del columns[residual]
    return list(columns.values())
