"""Gradient norm from input to output at chosen steps, one line per depth, with theory at initialisation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.analysis.layers import chosen_steps, fewer_seeds, thinned
from depthbench.analysis.rows import rows_of
from depthbench.analysis.theory import COLUMN as PREDICTED_COLUMN
from depthbench.analysis.theory import theory_lines
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.figures.twins import twins_of
from depthbench.report.style import canvas, layout, legends, palette, tags, text
from depthbench.report.style.norms import NormScale

QUANTITIES = {
    "grad_norm_preact": ("Gradient of the pre-activations", "L2 norm of dL/dz"),
    "grad_norm_weight": ("Gradient of the weights", "L2 norm of dL/dW"),
}
THEORY: dict[
    str, tuple[str, tuple[float, ...]]
] = {  # kind of prediction -> label (rates of the squared norm per layer), dashes
    "he": ("theory: He, rate 1 (lower with zero padding)", (4, 2)),
    "xavier": ("theory: Xavier, rate 1/2 (lower with zero padding)", (1.5, 1.5)),
    "batch_norm": ("theory: BN, rate set by the batch size", (6, 1.5, 1.5, 1.5)),
    "batch_norm_limit": ("theory: BN, rate at most π/(π-1)", (9, 2)),
    "residual": ("theory: residual, rate set by scales and init", (3, 1, 1, 1, 1, 1)),
    "layer": ("theory: rate set by init and activation", (2, 1)),
    "slope_limit": ("theory: orthogonal with tanh, rate at most 1", (9, 2, 1.5, 2)),
    "shortcut": ("theory: blocks begin as their shortcut", (6, 2, 2, 2)),
    "power": ("theory: residual with BN, norm of order 1/l", (1, 3)),
}
BY_DESIGN = "zero by design, because a later factor starts at zero or a branch is dropped"
DROPPED = "A seed that drops a branch in a step is left out of the mean of its layers."
MOST_LAYERS = 300  # of a line; with more, the two layers of each block would blur into a band
MOST_NETWORKS = 6  # with more, twins are far apart on the page: each is repeated behind the other
# in ink on a casing of paper, as ink alone is lost on the line of a deep network
THEORY_LOOK: palette.Look = {"color": canvas.INK, "linewidth": 0.8}
CASING = [patheffects.withStroke(linewidth=2.4, foreground=canvas.PAPER)]


def draw(evidence: Evidence, column: str) -> Figure | None:
    """Draw `column` against the position of a layer, one row per step and one panel per network."""
    runs, layers = evidence.runs, evidence.layers
    if column not in evidence.gradients:
        return None
    networks = layout.networks_of(layers)
    steps = chosen_steps(layers, canvas.most_rows(len(networks)))
    table = evidence.gradients[column]
    table = table[table["step"].isin(steps)]
    has_theory = column == PREDICTED_COLUMN and canvas.most_rows(len(networks)) > 1
    predicted = theory_lines(table if has_theory else table.iloc[:0], runs, layers)
    colours = palette.chosen_depth_colours(sorted(runs["depth"].unique()))
    title, unit = QUANTITIES[column]
    heading = f"{title} by layer (geometric mean and range of {text.seed_count(table['n'])})"
    figure, panels = layout.grid(len(steps), len(networks), 1.45, heading)
    titles = _titles(panels[0, 0], networks, steps)
    scale = NormScale(pd.concat([table["low"], table["high"], predicted["value"]]))
    scale.apply(panels.flat)
    twins = twins_of(evidence.twins) if len(networks) > MOST_NETWORKS else {}
    for row, step in zip(panels, steps, strict=True):
        at_step = table[table["step"] == step]
        for axes, network in zip(row, networks, strict=True):
            tags.tag(axes, network=network)
            draw_background(axes, at_step[at_step["network"] == twins.get(network)], "position")
            part = at_step[at_step["network"] == network]
            draw_depths(axes, part, "position", colours=colours, network=network, unit=unit)
            if step == 0:
                draw_theory(axes, predicted[predicted["network"] == network], unit)
            layout.set_panel_title(axes, titles[network, step])
        layout.label_left(row, unit)
    panels[0, 0].set_xlim(-0.04, 1.04)
    panels[0, 0].set_xticks([0, 0.25, 0.5, 0.75, 1], ["input", "¼", "½", "¾", "output"])
    layout.label_bottom(panels[-1], "layer / depth")
    handles = [
        *legends.depth_handles(palette.named_depths(colours)),
        *background_handles(colours, twins),
        *edge_handles(table),
    ]
    kinds = theory_handles(predicted)
    columns = 6 if not kinds else 3 if len(kinds) < 3 else 2  # long labels
    notes = (
        seeds_note(table, runs),
        steps_note(steps, layers),
        thinned_note(table),
        scale.note(),
        None if canvas.is_slide() else sources_note(predicted),
    )
    note = "\n".join(filter(None, notes)) or None
    legends.legend_below(figure, handles + kinds, columns, note=note)
    return figure


def _titles(axes: Axes, networks: Sequence[str], steps: Sequence[int]) -> dict[tuple[str, int], str]:
    """Return the title of each panel, on panels as wide as `axes`."""
    titles = {(network, step): f"{network}, step {step:,}" for network in networks for step in steps}
    full = {key: title + " (initialisation)" * (key[1] == 0) for key, title in titles.items()}
    return full if layout.fits(axes, full.values()) else titles


def background_handles(colours: dict[int, str], twins: dict[str, str]) -> list[Line2D]:
    """Make the legend entry of the lines in the background, if any."""
    kinds = ["other depths"] if palette.BACKGROUND in colours.values() else []
    return legends.background_handles([*kinds, "its twin"] if twins else kinds)


def draw_background(axes: Axes, table: pd.DataFrame, x: str) -> None:
    """Draw rows of `by_layer` of another network, which give context."""
    for depth, line in layout.by_depth(table):
        with tags.tagged(axes, depth):
            axes.plot(line[x], line["mean"], color=palette.BACKGROUND, linewidth=0.8, zorder=1)


def draw_depths(
    axes: Axes,
    table: pd.DataFrame,
    x: str,
    *,
    colours: dict[int, str],
    network: str,
    unit: str,
    word: str = "layer",
    name: str = "",
    mean: str = "geometric mean",
) -> None:
    """Draw the rows of `by_layer` of one network and step, one line per depth. `word` names the position.

    `name` is what the page calls the network, if it is not `network`.

    The deepest is the widest and lies behind the others, so that lines that coincide are all visible."""
    widths = palette.nested_widths(list(palette.named_depths(colours)))
    for depth, line in reversed(list(layout.by_depth(table))):
        look: palette.Look = {"color": colours[depth], "linewidth": widths.get(depth, 0.8)}
        with tags.tagged(axes, depth, network=network):
            described = f"{name or network}, depth {depth}"
            few = thinned(line, MOST_LAYERS)
            draw_line(axes, few, x, look, name=described, unit=unit, along=(word, "layer"), mean=mean)


def draw_line(
    axes: Axes,
    line: pd.DataFrame,
    x: str,
    look: palette.Look,
    *,
    name: str,
    unit: str,
    along: tuple[str, str] = ("layer", "layer"),
    mean: str = "geometric mean",
) -> None:
    """Draw the rows of `by_layer` of one depth against the column `x`, described as `name`.

    A value between two gaps is drawn as a point. Values that a log axis cannot show are marked at its edges.
    along: the name of the horizontal position and its column."""
    means = line["mean"].where(line["mean"] > 0) if axes.get_yscale() != "linear" else line["mean"]
    solid: palette.Look = {"linewidth": palette.THIN}
    alone = isolated(means)
    (drawn,) = axes.plot(line[x], means, **solid | look)
    if alone and "marker" not in look:  # a line through one point is invisible
        drawn.set(marker="o", markersize=3 * palette.THIN, markeredgewidth=0, markevery=alone)
    word, column = along
    positions = line[column].astype(float).round(1)
    series = tags.Series(f"{name}, {mean} of {text.seed_count(line['n'])}", word, unit)
    tags.describe(drawn, replace(series, xs=positions.tolist()))
    axes.fill_between(line[x], line["low"], line["high"], color=look["color"], alpha=0.15, linewidth=0)
    for edge in edges(line):
        at = edge.rows
        if len(at):
            (marks,) = axes.plot(
                at[x],
                [edge.height] * len(at),
                transform=axes.get_xaxis_transform(),
                clip_on=False,
                zorder=3,
                **edge.look(look["color"], 3),
            )
            values = [edge.describe(row) for row in rows_of(at)]
            tags.describe(marks, tags.Series(name, word, unit, xs=positions[at.index].tolist(), ys=values))


def isolated(values: pd.Series) -> list[int]:
    """Return the positions of numbers between two gaps. A line through one of them is invisible."""
    known = np.concatenate([[False], values.notna(), [False]])
    return np.flatnonzero(known[1:-1] & ~known[:-2] & ~known[2:]).tolist()


def draw_theory(axes: Axes, lines: pd.DataFrame, unit: str) -> None:
    """Draw the rows of `theory_lines` of one network, dashed, on top of the measured lines."""
    for depth, rows in layout.by_depth(lines):
        for _, line in rows.groupby("stage"):
            label, dashes = THEORY[line["kind"].iloc[0]]
            network = line["network"].iloc[0]
            with tags.tagged(axes, depth, network=network):
                (drawn,) = axes.plot(
                    line["position"],
                    line["value"],
                    dashes=dashes,
                    zorder=4,
                    path_effects=CASING,
                    **THEORY_LOOK,
                )
                name = f"{network}, depth {depth}, {label}"
                tags.describe(drawn, tags.Series(name, "layer", unit, xs=line["layer"].tolist()))


def theory_handles(lines: pd.DataFrame) -> list[Line2D]:
    """Make the legend entries of the kinds of theory in `lines`."""
    drawn = set(lines["kind"])
    return [
        Line2D([], [], dashes=dashes, label=label, **THEORY_LOOK)
        for kind, (label, dashes) in THEORY.items()
        if kind in drawn
    ]


def sources_note(lines: pd.DataFrame) -> str | None:
    """Name the sources of the theory drawn, if any."""
    sources = dict.fromkeys(part for source in lines["source"].unique() for part in source.split("; "))
    return f"Theory: {'; '.join(sources)}" if sources else None


def steps_note(
    steps: Sequence[int], layers: pd.DataFrame, where: str = "The heat maps by step show all."
) -> str | None:
    """Name the steps shown if more were probed. where: a sentence that says where the others are shown."""
    probed = layers["step"].nunique()
    if len(steps) == probed:
        return None
    *others, last = [f"{step:,}" for step in steps]
    listed = f"steps {', '.join(others)} and {last}" if others else f"step {last}"
    more = "The page shows more." if canvas.is_slide() else where
    return f"Shown: {listed} of {probed} probed steps. {more}".rstrip()


def thinned_note(table: pd.DataFrame, most: int = MOST_LAYERS) -> str | None:
    """Name the depths whose lines are means of neighbouring layers, if any."""
    layers = table.groupby("depth")["layer"].nunique()
    *others, last = ["", *(f"{depth:,}" for depth in layers.index[layers > most])]
    depths = f"depths {', '.join(others[1:])} and {last}" if others[1:] else f"depth {last}"
    return f"At {depths}, neighbouring layers are averaged (geometric mean)" if last else None


def seeds_note(table: pd.DataFrame, runs: pd.DataFrame) -> str | None:
    """Name the lines for which some runs were not probed at some steps, if any."""
    lines = [
        f"{r.network} {r.depth} ({r.n} of {r.stored} runs)" for r in fewer_seeds(table, runs).itertuples()
    ]
    more = f" and {len(lines) - 4} more" if len(lines) > 4 else ""
    return f"Some runs were not probed at every step: {', '.join(lines[:4])}{more}" if lines else None


class Edge(NamedTuple):
    """Values that a log axis cannot show, and the mark at its edge that stands for them."""

    rows: pd.DataFrame
    kind: str
    """The column of `rows` with the counts of these values."""
    height: float
    """Height of the mark as a fraction of the panel."""
    marker: str
    label: str
    is_hollow: bool = False

    def describe(self, row: Mapping[str, Any]) -> str:
        """Return the text shown instead of a value."""
        return f"{self.label.removesuffix(' in a seed')} in {row[self.kind]} of {row['n']} seeds"

    def look(self, colour: str, size: float) -> palette.Look:
        """Return the look of the mark."""
        face = canvas.PAPER if self.is_hollow else colour
        return {
            "color": colour,
            "marker": self.marker,
            "markersize": size,
            "markerfacecolor": face,
            "linestyle": "",
        }


def edges(table: pd.DataFrame) -> list[Edge]:
    """Return the edge marks of rows of `by_layer`, which have a column `by_design` if they hold gradients."""
    zero = table["zeros"] > 0
    design = zero & table.get("by_design", pd.Series(False, table.index)).eq(True)
    return [
        Edge(table[zero & ~design], "zeros", 0.0, "v", "exactly zero in a seed"),
        Edge(table[design], "zeros", 0.0, "v", BY_DESIGN, is_hollow=True),
        Edge(table[table["infinite"] > 0], "infinite", 1.0, "^", "infinite in a seed"),
        Edge(table[table["minus_infinite"] > 0], "minus_infinite", 0.0, "s", "minus infinity in a seed"),
        Edge(table[table["nans"] > 0], "nans", 1.0, "x", "not a number in a seed"),
        Edge(table[table["unmeasured"] > 0], "unmeasured", 0.0, "o", "not measured in a seed", True),
    ]


def edge_handles(table: pd.DataFrame) -> list[Line2D]:
    """Make the legend entries of the edge marks of `table`."""
    return [
        Line2D([], [], label=edge.label, **edge.look(palette.GREY, 4))
        for edge in edges(table)
        if len(edge.rows)
    ]


PREACTIVATIONS = ReportFigure(
    partial(draw, column="grad_norm_preact"),
    title="Gradient by layer",
    chapter="gradients",
    caption=(
        "Norm of the gradient of the loss with respect to each layer's output before normalisation, from "
        "input to output. A line that rises towards the input is an exploding gradient, and one that falls "
        "towards the input is a vanishing one. Thin dashed lines at step 0 are predictions of theory for "
        f"initialisation, named in the legend. {DROPPED}"
    ),
    choice="pre-activations",
    needs="the probe `grad_norm_preact`",
    probes=("grad_norm_preact",),
)

WEIGHTS = ReportFigure(
    partial(draw, column="grad_norm_weight"),
    title="Gradient by layer",
    chapter="gradients",
    caption=(
        "Norm of the gradient of the loss with respect to each layer's weights, from input to output. It can "
        "be equal in all layers while the gradient of the pre-activations vanishes, because larger "
        f"activations compensate for it. {DROPPED}"
    ),
    choice="weights",
    needs="the probe `grad_norm_weight`",
    probes=("grad_norm_weight",),
)
