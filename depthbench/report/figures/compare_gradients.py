"""Gradient norms of all studies from input to output, one panel per network and depth."""

from collections.abc import Sequence
from functools import partial
from itertools import product

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.analysis.layers import (
    by_layer,
    of_weighted_layers,
    thinned,
    with_values,
    with_zeros_by_design,
)
from depthbench.analysis.rows import rows_of
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Comparison, Evidence
from depthbench.report.figures.gradient_by_layer import (
    MOST_LAYERS,
    QUANTITIES,
    draw_background,
    draw_depths,
    draw_line,
    edge_handles,
    thinned_note,
)
from depthbench.report.style import canvas, layout, legends, palette, tags, text
from depthbench.report.style.norms import NormScale

MOST_LINES = 6  # of studies and steps in one panel; with more, each step has its own


def draw(compared: Comparison, column: str) -> Figure | None:
    """Draw `column` against the layer position, at the first and the last step that all studies probed."""
    layers = of_weighted_layers(compared.joined.layers)
    parts = [
        with_values(layers[layers["study"] == label], column)
        for label, evidence in compared.studies.items()
        if column in evidence.results.layers
    ]
    probed = [set(part["step"]) for part in parts if len(part)]
    steps = sorted(set.intersection(*probed)) if probed else []
    if not steps:
        return None
    looks: dict[int, palette.Look] = {steps[0]: {"dashes": (2, 1.5)}} | {steps[-1]: {}}
    studies = [study for study in compared.labels if study in set(layers["study"])]
    study_lines: dict[str, palette.Look] = {
        study: {"color": look["color"]} for study, look in palette.study_looks(compared.labels).items()
    }
    for study, width in zip(reversed(studies), palette.nested_widths(studies).values(), strict=True):
        study_lines[study]["linewidth"] = width
    steps_of = list(looks)
    table = pd.concat(
        _of_study(compared.studies[study], layers[layers["study"] == study], column, steps_of).assign(
            study=study
        )
        for study in studies
    )
    if len(studies) > palette.MOST_STUDIES:
        return _draw_each_study(table[table["step"] == steps[-1]], column, steps[-1])
    title, unit = QUANTITIES[column]
    heading = f"{title} by layer (geometric mean and range of {text.seed_count(table['n'])})"
    groups = [steps_of] if len(studies) * len(steps_of) <= MOST_LINES else [[step] for step in steps_of]
    cells = [
        (row["network"], row["depth"], group)
        for row in rows_of(table[["network", "depth"]].drop_duplicates())
        for group in groups
    ]
    networks = layout.networks_of(layers)
    cells.sort(key=lambda cell: (networks.index(cell[0]), cell[1]))  # stable: steps stay in order
    columns = min(canvas.MOST_COLUMNS, len(cells))
    if len(groups) > 1:
        columns = 2  # a row per network and depth
    figure, panels = layout.grid(-(-len(cells) // columns), columns, 1.7, heading)
    for unused in panels.flat[len(cells) :]:
        unused.remove()
    scale = NormScale(table[["low", "high"]].to_numpy().ravel())
    scale.apply(panels.flat[: len(cells)])
    titles = []
    for axes, (network, depth, group) in zip(panels.flat, cells, strict=False):
        part = table[(table["network"] == network) & (table["depth"] == depth)]
        with tags.tagged(axes, depth, network=network):
            for study, step in product(studies, group):
                line = part[(part["study"] == study) & (part["step"] == step)]
                if len(line):
                    name = f"{study}, {network}, depth {depth}, step {step:,}"
                    look = study_lines[study] | looks[step]
                    draw_line(axes, thinned(line, MOST_LAYERS), "position", look, name=name, unit=unit)
        titles.append(f"{network}, depth {depth}" + (f", step {group[0]:,}" if len(groups) > 1 else ""))
        layout.set_panel_title(axes, titles[-1])
        tags.tag(axes, depth, network=network)
    panels[0, 0].set_xlim(-0.04, 1.04)
    panels[0, 0].set_xticks([0, 0.5, 1], ["input", "½", "output"])
    layout.label_outer(panels, titles, x="layer / depth", y=unit)
    handles = [Line2D([], [], label=study, **study_lines[study]) for study in studies]
    for step, look in looks.items():
        label = f"step {step:,}{' (initialisation)' if step == 0 else ''}"
        handles.append(Line2D([], [], label=label, **look | {"color": palette.GREY}))
    notes = (thinned_note(table), scale.note())
    note = "\n".join(filter(None, notes)) or None
    legends.legend_below(figure, handles + edge_handles(table), 4, note=note)
    return figure


def _of_study(evidence: Evidence, layers: pd.DataFrame, column: str, steps: Sequence[int]) -> pd.DataFrame:
    """Return `by_layer` of the gradient `column` at `steps`, with by_design. `layers`: those of the study."""
    table = by_layer(layers[layers["step"].isin(steps)], column)
    return with_zeros_by_design(table, layers, column, evidence.runs)


def _draw_each_study(table: pd.DataFrame, column: str, step: int) -> Figure:
    """Draw a panel for each study and network at one step, with the first study in the background.

    `table`: rows of `by_layer` at this step with their study."""
    title, unit = QUANTITIES[column]
    heading = f"{title} by layer, step {step:,} (geometric mean and range of {text.seed_count(table['n'])})"
    cells = list(table[["study", "network"]].drop_duplicates().itertuples(index=False, name=None))
    baseline, columns = cells[0][0], table["network"].nunique()
    colours = palette.chosen_depth_colours(sorted(table["depth"].unique()))
    columns_shown = columns if 1 < columns <= canvas.MOST_COLUMNS else None  # a row for each study
    figure, panels = layout.flow(len(cells), 1.45, heading, columns_shown)
    scale = NormScale(table[["low", "high"]].to_numpy().ravel())
    scale.apply(axes for axes in panels.flat if axes is not None)
    for axes, (study, network) in zip(panels.flat, cells, strict=False):
        part = table[table["network"] == network]
        if study != baseline:
            draw_background(axes, part[part["study"] == baseline], "position")
        own = part[part["study"] == study]
        draw_depths(
            axes, own, "position", colours=colours, network=network, unit=unit, name=f"{study}: {network}"
        )
        layout.set_panel_title(axes, f"{study}: {network}")
        tags.tag(axes, network=network)
    panels[0, 0].set_xlim(-0.04, 1.04)
    panels[0, 0].set_xticks([0, 0.5, 1], ["input", "½", "output"])
    layout.label_outer(panels, cells, x="layer / depth", y=unit)
    handles = legends.depth_handles(palette.named_depths(colours))
    kinds = ["other depths"] if palette.BACKGROUND in colours.values() else []
    handles += legends.background_handles([baseline, *kinds]) + edge_handles(table)
    note = "\n".join(filter(None, (thinned_note(table), scale.note()))) or None
    legends.legend_below(figure, handles, note=note)
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
        "all studies probed. Solid: the last one. Studies with the same networks and initial weights have "
        "the same gradient at initialisation."
    ),
    choice="weights",
    needs="the probe `grad_norm_weight` at a step that all studies probed",
)
