"""Gradient norms of studies over each other, from input to output, a panel a network and depth."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.analysis.comparison import studies_of
from depthbench.analysis.layers import by_layer
from depthbench.report import style
from depthbench.report.figures.gradient_by_layer import QUANTITIES, draw_line, edge_handles
from depthbench.store.results import Results


def draw(joined: Results, column: str) -> Figure | None:
    """`column` against the layer's position, a panel a network and depth: at initialisation dashed, at the
    last step that all studies probed in bold."""
    layers = joined.layers
    if column not in layers or not layers[column].notna().any():
        return None
    probed = [set(part["step"]) for _, part in layers[layers[column].notna()].groupby("study")]
    steps = sorted(set.intersection(*probed))
    if not steps:
        return None
    looks = {steps[0]: {"dashes": (2, 1.5)}} | {steps[-1]: {}}
    studies = [study for study in studies_of(joined) if study in set(layers["study"])]
    of_study = {
        study: {key: look[key] for key in ("color", "linewidth")}
        for study, look in style.study_looks(studies_of(joined)).items()
    }
    shown = layers[layers["step"].isin(looks)]
    table = pd.concat(
        [by_layer(shown[shown["study"] == study], column).assign(study=study) for study in studies]
    )
    networks, depths = style.networks_of(layers), sorted(layers["depth"].unique())
    title, unit = QUANTITIES[column]
    heading = f"{title} by layer (geometric mean and range of {style.seeds(table['n'])})"
    figure, panels = style.grid(len(networks), len(depths), 1.7, heading)
    panels[0, 0].set_yscale("log", nonpositive="mask")
    with style.scaled_once(panels):
        for axes, network, depth in style.cells(panels, networks, depths):
            part = table[(table["network"] == network) & (table["depth"] == depth)]
            for (study, step), line in part.groupby(["study", "step"], sort=False):
                draw_line(axes, line, "position", **of_study[study], **looks[step])
    style.label_log(panels[0, 0])
    panels[0, 0].set_xticks([0, 0.5, 1], ["input", "½", "output"])
    for row in panels:
        style.label_left(row, unit)
    for axes in panels[-1]:
        axes.set_xlabel("layer, as a part of the depth")
    handles = [Line2D([], [], label=study, **of_study[study]) for study in studies]
    for step, look in looks.items():
        label = f"step {step:,}{' (initialisation)' if step == 0 else ''}"
        handles.append(Line2D([], [], color="#444444", label=label, **look))
    style.legend_below(figure, handles + edge_handles(table), 4)
    return figure
