"""Any probe by layer and step. Each probe that no other figure shows is drawn so."""

import re
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from depthbench.analysis.dropping import dropped
from depthbench.analysis.layers import by_layer, chosen_steps, of_probe, with_values, without_dropped
from depthbench.errors import BadInput
from depthbench.probes.columns import RESERVED, SELECTED_BY
from depthbench.registry import Entry
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.figures import FIGURES
from depthbench.report.figures.gradient_by_layer import (
    DROPPED,
    background_handles,
    draw_depths,
    edge_handles,
    seeds_note,
    steps_note,
    thinned_note,
)
from depthbench.report.style import canvas, layout, legends, palette, tags, text
from depthbench.report.style.norms import NormScale

WIDE = 20  # positive values that span this factor get a logarithmic axis


def figures_of_probes(evidence: Evidence) -> dict[str, Entry]:
    """Return name of the file -> figure, for each probe of a study that no figure of FIGURES shows."""
    shown = {probe for entry in FIGURES.values() for probe in _probes_of(entry)}
    known = {*shown, *RESERVED}
    columns = [str(column) for column in evidence.results.layers if column not in known]
    return {
        f"probe_{column}": Entry(figure_of(column, evidence.about_probes.get(column, "")))
        for column in columns
        if re.fullmatch(r"\w[\w.-]*", column)  # it becomes the name of a file
    }


def _probes_of(entry: Entry) -> tuple[str, ...]:
    """Return the probes that a figure shows. Empty if its package cannot be imported."""
    try:
        part: ReportFigure = entry.load()
    except BadInput:
        return ()
    return part.probes


def figure_of(probe: str, about: str) -> ReportFigure:
    """Return the figure of a probe. Its caption begins with what the probe measures."""
    what = f"{probe}: {about[0].upper()}{about[1:].rstrip('.')}." if about else f"The probe {probe}."
    return ReportFigure(
        partial(draw, column=probe),
        title="Further probes by layer",
        choice=probe,
        caption=(
            f"{what} Each panel shows a network at one probed step, from the input to the output. Lines are "
            "means over seeds, and bands are their ranges. The mean is geometric if the axis is logarithmic."
        ),
        chapter="layers",
        probes=(probe,),
    )


def draw(evidence: Evidence, column: str) -> Figure | None:
    """Draw `column` against the position of a layer, one row per step and one panel per network."""
    runs, layers = evidence.runs, evidence.results.layers
    if column not in layers or not pd.api.types.is_numeric_dtype(layers[column]):
        return None
    layers = of_probe(layers, column)
    known = with_values(layers, column)
    if known.empty:
        return None
    is_log = spans_decades(known[column])
    networks = layout.networks_of(layers)
    steps = chosen_steps(known, canvas.most_rows(len(networks)))
    table = by_layer(layers[layers["step"].isin(steps)], column, is_log=is_log)
    is_of_layers = SELECTED_BY not in layers or not layers[SELECTED_BY].fillna("").any()
    has_dropped = is_of_layers and bool(dropped(layers, column, runs).any())
    if has_dropped:
        table = without_dropped(table, layers, column, runs, is_log=is_log)
        table["by_design"] = table["dropped"]
    mean = "geometric mean" if is_log else "mean"
    colours = palette.chosen_depth_colours(sorted(runs["depth"].unique()))
    heading = f"{column} by layer ({mean} and range of {text.seed_count(table['n'])})"
    figure, panels = layout.grid(len(steps), len(networks), 1.45, heading)
    scale = NormScale(pd.concat([table["low"], table["high"]])) if is_log else None
    if scale:
        scale.apply(panels.flat)
    word = "layer" if is_of_layers else "place"
    for row, step in zip(panels, steps, strict=True):
        at_step = table[table["step"] == step]
        for axes, network in zip(row, networks, strict=True):
            tags.tag(axes, network=network)
            part = at_step[at_step["network"] == network]
            draw_depths(
                axes, part, "position", colours=colours, network=network, unit=column, word=word, mean=mean
            )
            layout.set_panel_title(axes, f"{network}, step {step:,}")
        layout.label_left(row, column)
    has_numbers = bool(np.isfinite(known[column].astype(float)).any())
    if not has_numbers:
        panels[0, 0].set_yticks([])  # shared by all panels
    panels[0, 0].set_xlim(-0.04, 1.04)
    panels[0, 0].set_xticks([0, 0.25, 0.5, 0.75, 1], ["input", "¼", "½", "¾", "output"])
    layout.label_bottom(panels[-1], "layer / depth" if is_of_layers else "place / depth")
    handles = [
        *legends.depth_handles(palette.named_depths(colours)),
        *background_handles(colours, {}),
        *edge_handles(table),
    ]
    notes = (
        seeds_note(table, runs),
        steps_note(steps, layers, ""),
        thinned_note(table),
        scale.note() if scale else None,
        DROPPED if has_dropped else None,
        None if has_numbers else "No value is a finite number.",
    )
    legends.legend_below(figure, handles, note="\n".join(filter(None, notes)) or None)
    return figure


def spans_decades(values: pd.Series) -> bool:
    """Return whether values need a logarithmic axis: none is negative, and they span a factor of WIDE."""
    finite = values[np.isfinite(values.astype(float))]
    positive = finite[finite > 0]
    return bool((finite >= 0).all() and len(positive) and positive.max() > WIDE * positive.min())
