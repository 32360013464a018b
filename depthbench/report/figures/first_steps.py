"""What the first updates do to early and late layers: gradients and weights, step by step."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.analysis.first_steps import first_steps
from depthbench.report import style
from depthbench.report.figures.gradient_by_layer import draw_line, edge_handles, seeds_note
from depthbench.store.results import Results

ROWS = {"grad_norm_preact": "L2 norm of dL/dz", "weight_norm": "L2 norm of W"}
PLACES = ("first", "middle", "last")


def draw(results: Results) -> Figure | None:
    """Gradient of the pre-activations and weight norm of three layers, at each step probed up to the 100th:
    a panel a network, at its greatest depth."""
    layers = results.layers
    if any(column not in layers or not layers[column].notna().any() for column in ROWS):
        return None
    tables = {column: first_steps(layers, column) for column in ROWS}
    table = tables["grad_norm_preact"]
    steps = sorted(table["step"].unique())
    if len(steps) < 2:  # nothing has moved
        return None
    networks = style.networks_of(layers)
    looks = {place: look | {"dashes": (None, None)} for place, look in style.network_looks(PLACES).items()}
    title = f"The first steps of the deepest networks (geometric mean and range of {style.seeds(table['n'])})"
    figure, panels = style.grid(len(ROWS), len(networks), 1.75, title, sharey="row")
    for row, (column, label) in zip(panels, ROWS.items(), strict=True):
        row[0].set_yscale("log", nonpositive="mask")
        for axes, network in zip(row, networks, strict=True):
            part = tables[column][tables[column]["network"] == network]
            for place, line in part.groupby("place"):
                _draw_place(axes, line, looks[place])
            style.name_panel(axes, f"{network}, depth {part['depth'].max()}" if len(part) else network)
            if len(part):
                style.is_of_depth(axes, part["depth"].max())
        style.label_left(row, label)
        style.label_log(row[0])
    for axes in panels[-1]:
        axes.set_xlabel("step (updates made)")
        axes.set_xticks(range(len(steps)), [style.count(step) for step in steps])
    names = {"first": "layer 2", "middle": "middle layer", "last": "last layer before the classifier"}
    handles = [Line2D([], [], label=names[place], **looks[place]) for place in PLACES]
    style.legend_below(figure, handles + edge_handles(table), note=seeds_note(table, results.runs))
    return figure


def _draw_place(axes: Axes, line, look: dict) -> None:
    """One layer over the steps."""
    draw_line(axes, line, "order", look["color"])
    marks = {"color": look["color"], "marker": look["marker"], "markersize": 3.5, "linestyle": ""}
    axes.plot(line["order"], line["mean"], **marks)
