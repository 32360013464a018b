"""Gradient norms of all studies from input to output, one panel per network and depth."""

from functools import partial

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.analysis.layers import by_layer
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Comparison
from depthbench.report.figures.gradient_by_layer import QUANTITIES, draw_line, edge_handles
from depthbench.report.style import layout, legends, palette, text, ticks


def draw(compared: Comparison, column: str) -> Figure | None:
    """Draw `column` against the layer position, at the first and the last step that all studies probed."""
    layers = compared.joined.layers
    if column not in layers or not layers[column].notna().any():
        return None
    probed = [set(part["step"]) for _, part in layers[layers[column].notna()].groupby("study")]
    steps = sorted(set.intersection(*probed))
    if not steps:
        return None
    looks: dict[int, palette.Look] = {steps[0]: {"dashes": (2, 1.5)}} | {steps[-1]: {}}
    studies = [study for study in compared.labels if study in set(layers["study"])]
    study_lines: dict[str, palette.Look] = {
        study: {"color": look["color"], "linewidth": look["linewidth"]}
        for study, look in palette.study_looks(compared.labels).items()
    }
    shown = layers[layers["step"].isin(looks)]
    table = pd.concat(
        [by_layer(shown[shown["study"] == study], column).assign(study=study) for study in studies]
    )
    networks, depths = layout.networks_of(layers), sorted(layers["depth"].unique())
    title, unit = QUANTITIES[column]
    heading = f"{title} by layer (geometric mean and range of {text.seed_count(table['n'])})"
    figure, panels = layout.grid(len(networks), len(depths), 1.7, heading)
    panels[0, 0].set_yscale("log", nonpositive="mask")
    with layout.autoscaled_once(panels):
        for axes, network, depth in layout.cells(panels, networks, depths):
            part = table[(table["network"] == network) & (table["depth"] == depth)]
            for study in studies:
                for step, look in looks.items():
                    line = part[(part["study"] == study) & (part["step"] == step)]
                    if len(line):
                        draw_line(axes, line, "position", study_lines[study] | look)
    ticks.label_log(panels[0, 0])
    panels[0, 0].set_xticks([0, 0.5, 1], ["input", "½", "output"])
    for row in panels:
        layout.label_left(row, unit)
    for axes in panels[-1]:
        axes.set_xlabel("layer, as a fraction of the depth")
    handles = [Line2D([], [], label=study, **study_lines[study]) for study in studies]
    for step, look in looks.items():
        label = f"step {step:,}{' (initialisation)' if step == 0 else ''}"
        handles.append(Line2D([], [], label=label, **look | {"color": palette.GREY}))
    legends.legend_below(figure, handles + edge_handles(table), 4)
    return figure


PREACTIVATIONS = ReportFigure(
    partial(draw, column="grad_norm_preact"),
    title="Gradient by layer",
    chapter="gradients",
    caption=(
        "Norm of the gradient of the loss with respect to each layer's output before normalisation. Dashed: "
        "the first step that all studies probed. Solid: the last one. Studies with the same networks and "
        "initial weights have the same gradient at initialisation."
    ),
    choice="pre-activations",
    needs="the probe `grad_norm_preact` at a step that all studies probed",
)

WEIGHTS = ReportFigure(
    partial(draw, column="grad_norm_weight"),
    title="Gradient by layer",
    chapter="gradients",
    caption=(
        "Norm of the gradient of the loss with respect to each layer's weights. Dashed: the first step that "
        "all studies probed. Solid: the last one."
    ),
    choice="weights",
    needs="the probe `grad_norm_weight` at a step that all studies probed",
)
