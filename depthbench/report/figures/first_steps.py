"""Gradients and weights of early, middle and late layers during the first updates."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.analysis.first_steps import first_steps
from depthbench.analysis.layers import with_values, with_zeros_by_design
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.figures.gradient_by_layer import draw_line, edge_handles, seeds_note
from depthbench.report.style import canvas, layout, legends, palette, tags, text
from depthbench.report.style.norms import NormScale

ROWS = {"grad_norm_preact": "L2 norm of dL/dz", "weight_norm": "L2 norm of W"}
NAMES = {"first": "layer 2", "middle": "middle layer", "last": "last layer before the classifier"}


def draw(evidence: Evidence) -> Figure | None:
    """Draw the pre-activation gradient and the weight norm of three layers of the deepest networks."""
    layers = evidence.layers
    if not all(len(with_values(layers, column)) for column in ROWS):
        return None
    tables = {column: first_steps(layers, column) for column in ROWS}
    gradient = "grad_norm_preact"
    tables[gradient] = table = with_zeros_by_design(tables[gradient], layers, gradient, evidence.runs)
    steps = sorted(table["step"].unique())
    if len(steps) < 2:  # nothing has changed yet
        return None
    networks = layout.networks_of(layers)
    looks = layer_looks()
    seeds = text.seed_count(table["n"])
    title = f"First training steps of the deepest networks (geometric mean and range of {seeds})"
    rows = dict(list(ROWS.items())[: canvas.most_rows(len(networks))])
    figure, panels = layout.grid(len(rows), len(networks), 1.75, title, sharey="row")
    notes = [seeds_note(table, evidence.runs)]
    if len(rows) < len(ROWS):
        notes.append("The page shows the weight norms too")
    for row, (column, label) in zip(panels, rows.items(), strict=True):
        scale = NormScale(tables[column][["low", "high"]].to_numpy().ravel())
        scale.apply(row)
        notes.append(scale.note())
        for axes, network in zip(row, networks, strict=True):
            part = tables[column][tables[column]["network"] == network]
            depth = part["depth"].max()
            for position in (place for place in NAMES if place in set(part["which_layer"])):
                line = part[part["which_layer"] == position]
                name = f"{network}, depth {depth}, {NAMES[position]}"
                with tags.tagged(axes, depth, network=network):
                    draw_line(
                        axes, line, "order", looks[position], name=name, unit=label, along=("step", "step")
                    )
            layout.set_panel_title(axes, f"{network}, depth {depth}" if len(part) else network)
            tags.tag(axes, *[depth] if len(part) else [], network=network)
        layout.label_left(row, label)
    layout.label_bottom(panels[-1], "step (updates made)")
    for axes in panels[-1]:
        axes.set_xticks(range(len(steps)), [text.short_count(step) for step in steps])
    handles = [Line2D([], [], label=name, **looks[position]) for position, name in NAMES.items()]
    note = "\n".join(dict.fromkeys(filter(None, notes))) or None
    shown = pd.concat([tables[column] for column in rows])
    legends.legend_below(figure, handles + edge_handles(shown), note=note)
    return figure


def layer_looks() -> dict[str, palette.Look]:
    """Map each of NAMES to its look. The first is widest, so that lines that coincide are all visible."""
    widths = palette.nested_widths(list(reversed(NAMES)))
    return {
        position: look
        | {
            "dashes": (None, None),
            "linewidth": widths[position],
            "markersize": 3 * widths[position],
            "markeredgewidth": 0,
        }
        for position, look in palette.network_looks(list(NAMES)).items()
    }


FIGURE = ReportFigure(
    draw,
    title="First training steps",
    chapter="gradients",
    caption=(
        "Gradient norm and weight norm of three layers of the deepest networks against the "
        "training step, with the probed steps evenly spaced. Where an early layer of a normalised network "
        "starts with a large gradient, the first updates make its weights so large that its later gradient "
        "vanishes. This explains the vanishing gradient, but it does not show that either causes degradation."
    ),
    needs="the probes `grad_norm_preact` and `weight_norm` at two or more of the steps 0 to 100",
    probes=("weight_norm",),
)
