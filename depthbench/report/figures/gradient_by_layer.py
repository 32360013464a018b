"""Gradient norm from input to output at chosen steps, one line per depth, with theory at initialisation."""

from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.analysis.layers import by_layer, chosen_steps, fewer_seeds, thinned
from depthbench.analysis.theory import COLUMN as PREDICTED_COLUMN
from depthbench.analysis.theory import theory_lines
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.style import canvas, layout, legends, palette, tags, text, ticks

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
    "power": ("theory: residual with BN, norm of order 1/l", (1, 3)),
}
MOST_LAYERS = 300  # of a line; with more, the two layers of each block would blur into a band
THEORY_LOOK: palette.Look = {"color": "#009E73", "linewidth": 0.9}  # unlike the colour of any depth


def draw(evidence: Evidence, column: str) -> Figure | None:
    """Draw `column` against the position of a layer, one row per step and one panel per network."""
    runs, layers = evidence.runs, evidence.layers
    if column not in layers or not layers[column].notna().any():
        return None
    networks = layout.networks_of(layers)
    steps = chosen_steps(layers, canvas.most_steps(len(networks)))
    table = by_layer(layers[layers["step"].isin(steps)], column)
    predicted = theory_lines(table if column == PREDICTED_COLUMN else table.iloc[:0], runs, layers)
    colours = palette.depth_colours(runs["depth"])
    title, unit = QUANTITIES[column]
    heading = f"{title} by layer (geometric mean and range of {text.seed_count(table['n'])})"
    figure, panels = layout.grid(len(steps), len(networks), 1.45, heading)
    panels[0, 0].set_yscale("log", nonpositive="mask")
    with layout.autoscaled_once(panels):
        for row, step in zip(panels, steps, strict=True):
            for axes, network in zip(row, networks, strict=True):
                part = table[(table["network"] == network) & (table["step"] == step)]
                for depth, line in layout.by_depth(part):
                    with tags.tagged(axes, depth):
                        draw_line(axes, thinned(line, MOST_LAYERS), "position", {"color": colours[depth]})
                if step == 0:
                    draw_theory(axes, predicted[predicted["network"] == network])
                layout.set_panel_title(
                    axes, f"{network}, step {step:,}{' (initialisation)' if step == 0 else ''}"
                )
            layout.label_left(row, unit)
    ticks.label_log(panels[0, 0])
    panels[0, 0].set_xticks([0, 0.25, 0.5, 0.75, 1], ["input", "¼", "½", "¾", "output"])
    for axes in panels[-1]:
        axes.set_xlabel("layer, as a fraction of the depth")
    handles = legends.depth_handles(colours) + edge_handles(table)
    kinds = theory_handles(predicted)
    columns = 6 if not kinds else 3 if len(kinds) < 3 else 2  # long labels
    notes = (seeds_note(table, runs), thinned_note(table), sources_note(predicted))
    note = "\n".join(filter(None, notes)) or None
    legends.legend_below(figure, handles + kinds, columns, note=note)
    return figure


def draw_line(axes: Axes, line: pd.DataFrame, x: str, look: palette.Look) -> None:
    """Draw the rows of `by_layer` of one depth against the column `x`.

    Values that a log axis cannot show are marked at its edges."""
    solid: palette.Look = {"linewidth": palette.THIN}
    axes.plot(line[x], line["mean"], **solid | look)
    axes.fill_between(line[x], line["low"], line["high"], color=look["color"], alpha=0.15, linewidth=0)
    for kind, (height, marker, _) in EDGES.items():
        at = line.loc[line[kind] > 0, x]
        if len(at):
            axes.plot(
                at,
                [height] * len(at),
                color=look["color"],
                marker=marker,
                markersize=3,
                linestyle="",
                transform=axes.get_xaxis_transform(),
                clip_on=False,
                zorder=3,
            )


def draw_theory(axes: Axes, lines: pd.DataFrame) -> None:
    """Draw the rows of `theory_lines` of one network on top of the measured lines."""
    for depth, rows in layout.by_depth(lines):
        for _, line in rows.groupby("stage"):
            dashes = THEORY[line["kind"].iloc[0]][1]
            with tags.tagged(axes, depth):
                axes.plot(line["position"], line["value"], dashes=dashes, zorder=3, **THEORY_LOOK)


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


def thinned_note(table: pd.DataFrame) -> str | None:
    """Name the depths whose lines are means of neighbouring layers, if any."""
    layers = table.groupby("depth")["layer"].nunique()
    depths = ", ".join(f"{depth:,}" for depth in layers.index[layers > MOST_LAYERS])
    return f"Depth {depths}: each point is the geometric mean of neighbouring layers" if depths else None


def seeds_note(table: pd.DataFrame, runs: pd.DataFrame) -> str | None:
    """Name the lines for which some runs were not probed at some steps, if any."""
    lines = [
        f"{r.network} {r.depth} ({r.n} of {r.stored} runs)" for r in fewer_seeds(table, runs).itertuples()
    ]
    more = f" and {len(lines) - 4} more" if len(lines) > 4 else ""
    return f"Some runs were not probed at every step: {', '.join(lines[:4])}{more}" if lines else None


EDGES = {
    "zeros": (0.0, "v", "exactly zero in a seed"),
    "lost": (1.0, "^", "infinite or not a number in a seed"),
}


def edge_handles(table: pd.DataFrame) -> list[Line2D]:
    """Make the legend entries of the edge markers of `table`."""
    return [
        Line2D([], [], color=palette.GREY, marker=marker, markersize=4, linestyle="", label=label)
        for kind, (_, marker, label) in EDGES.items()
        if (table[kind] > 0).any()
    ]


PREACTIVATIONS = ReportFigure(
    partial(draw, column="grad_norm_preact"),
    title="Gradient by layer",
    chapter="gradients",
    caption=(
        "Norm of the gradient of the loss with respect to each layer's output before normalisation, from "
        "input to output. A line that rises towards the input shows an exploding gradient. A line that falls "
        "towards the input shows a vanishing gradient. Thin green lines at step 0 are the predictions of "
        "theory that the legend names. The gradient of the weights, in the other figure, can hide both "
        "effects."
    ),
    choice="pre-activations",
    needs="the probe `grad_norm_preact`",
)

WEIGHTS = ReportFigure(
    partial(draw, column="grad_norm_weight"),
    title="Gradient by layer",
    chapter="gradients",
    caption=(
        "Norm of the gradient of the loss with respect to each layer's weights. It can be equal in all "
        "layers while the gradient of the pre-activations vanishes, because larger activations compensate "
        "for it."
    ),
    choice="weights",
    needs="the probe `grad_norm_weight`",
)
