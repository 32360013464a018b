"""Gradient norm from input to output, at initialisation and at chosen steps, a line a depth; at
initialisation, what theory says of it beside."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.analysis.layers import by_layer, chosen_steps, fewer_seeds, thinned
from depthbench.analysis.theory import COLUMN as OF_THEORY
from depthbench.analysis.theory import theory_lines
from depthbench.report import style
from depthbench.store.results import Results

QUANTITIES = {
    "grad_norm_preact": ("Gradient of the pre-activations", "L2 norm of dL/dz"),
    "grad_norm_weight": ("Gradient of the weights", "L2 norm of dL/dW"),
}
THEORY = {  # kind of prediction: its label (rates are of the squared norm, a layer), and its dashes
    "he": ("theory: He, rate 1 (less the leak of padding)", (4, 2)),
    "xavier": ("theory: Xavier, rate 1/2 (less the leak)", (1.5, 1.5)),
    "batch_norm": ("theory: BN, rate by batch size", (6, 1.5, 1.5, 1.5)),
    "batch_norm_limit": ("theory: BN, rate at most π/(π-1)", (9, 2)),
    "residual": ("theory: residual, rate by scale and init", (3, 1, 1, 1, 1, 1)),
    "power": ("theory: residual with BN, norm of order 1/l", (1, 3)),
}
MOST_LAYERS = 300  # of a line: the two layers of each of more blocks would be a band of ink
THEORY_LOOK = {"color": "#009E73", "linewidth": 0.9}  # told from every depth's colour


def draw(results: Results, column: str) -> Figure | None:
    """`column` against the layer's position, a row a step, a panel a network, all on one log scale."""
    layers = results.layers
    if column not in layers or not layers[column].notna().any():
        return None
    networks = style.networks_of(layers)
    steps = chosen_steps(layers, style.most_moments(len(networks)))
    table = by_layer(layers[layers["step"].isin(steps)], column)
    foreseen = theory_lines(table if column == OF_THEORY else table.iloc[:0], results.runs, layers)
    colours = style.depth_colours(results.runs["depth"])
    title, unit = QUANTITIES[column]
    heading = f"{title} by layer (geometric mean and range of {style.seeds(table['n'])})"
    figure, panels = style.grid(len(steps), len(networks), 1.45, heading)
    panels[0, 0].set_yscale("log", nonpositive="mask")
    with style.scaled_once(panels):
        for row, step in zip(panels, steps, strict=True):
            for axes, network in zip(row, networks, strict=True):
                part = table[(table["network"] == network) & (table["step"] == step)]
                for depth, line in part.groupby("depth"):
                    with style.of_depth(axes, depth):
                        draw_line(axes, thinned(line, MOST_LAYERS), "position", colours[depth])
                if step == 0:
                    draw_theory(axes, foreseen[foreseen["network"] == network])
                style.name_panel(axes, f"{network}, step {step:,}{' (initialisation)' if step == 0 else ''}")
            style.label_left(row, unit)
    style.label_log(panels[0, 0])
    panels[0, 0].set_xticks([0, 0.25, 0.5, 0.75, 1], ["input", "¼", "½", "¾", "output"])
    for axes in panels[-1]:
        axes.set_xlabel("layer, as a part of the depth")
    handles = style.depth_handles(colours) + edge_handles(table)
    kinds = theory_handles(foreseen)
    columns = 6 if not kinds else 3 if len(kinds) < 3 else 2  # their labels are long
    notes = (seeds_note(table, results.runs), thinned_note(table), sources_note(foreseen))
    note = "\n".join(filter(None, notes)) or None
    style.legend_below(figure, handles + kinds, columns, note=note)
    return figure


def draw_line(axes: Axes, line: pd.DataFrame, x: str, color: str, **look) -> None:
    """One depth's rows of `by_layer`, `look` as matplotlib's plot takes it. What a log axis cannot hold is
    marked at its edges."""
    axes.plot(line[x], line["mean"], color=color, **{"linewidth": style.THIN} | look)
    axes.fill_between(line[x], line["low"], line["high"], color=color, alpha=0.15, linewidth=0)
    for kind, (height, marker, _) in EDGES.items():
        at = line.loc[line[kind] > 0, x]
        if len(at):
            edge = {"transform": axes.get_xaxis_transform(), "clip_on": False, "zorder": 3}
            axes.plot(at, [height] * len(at), color=color, marker=marker, markersize=3, linestyle="", **edge)


def draw_theory(axes: Axes, lines: pd.DataFrame) -> None:
    """One network's rows of `theory_lines`, thin and dashed. In a colour of their own, and on top: where
    theory holds they lie on the measured line."""
    for (depth, _), line in lines.groupby(["depth", "stage"]):
        dashes = THEORY[line["kind"].iloc[0]][1]
        with style.of_depth(axes, depth):
            axes.plot(line["position"], line["value"], dashes=dashes, zorder=3, **THEORY_LOOK)


def theory_handles(lines: pd.DataFrame) -> list[Line2D]:
    """Legend entries of the kinds of theory that `lines` are of."""
    drawn = set(lines["kind"])
    return [
        Line2D([], [], dashes=dashes, label=label, **THEORY_LOOK)
        for kind, (label, dashes) in THEORY.items()
        if kind in drawn
    ]


def sources_note(lines: pd.DataFrame) -> str | None:
    """Says who derived what is drawn of theory, if any is."""
    sources = dict.fromkeys(part for source in lines["source"].unique() for part in source.split("; "))
    return f"Theory: {'; '.join(sources)}" if sources else None


def thinned_note(table: pd.DataFrame) -> str | None:
    """Says of which depths lines are means of neighbouring layers, if any are."""
    layers = table.groupby("depth")["layer"].nunique()
    depths = ", ".join(f"{depth:,}" for depth in layers.index[layers > MOST_LAYERS])
    return f"Depth {depths}: geometric means of neighbouring layers" if depths else None


def seeds_note(table: pd.DataFrame, runs: pd.DataFrame) -> str | None:
    """Names the lines that stand for fewer seeds than are stored, if any."""
    told = [f"{r.network} {r.depth} ({r.n} of {r.stored})" for r in fewer_seeds(table, runs).itertuples()]
    more = f" and {len(told) - 4} more" if len(told) > 4 else ""
    return f"Fewer seeds than runs at some steps: {', '.join(told[:4])}{more}" if told else None


EDGES = {
    "zeros": (0.0, "v", "exactly zero in a seed"),
    "lost": (1.0, "^", "infinite or not a number in a seed"),
}


def edge_handles(table: pd.DataFrame) -> list[Line2D]:
    """Legend entries of the edge marks that `table` makes."""
    return [
        Line2D([], [], color="#444444", marker=marker, markersize=4, linestyle="", label=label)
        for kind, (_, marker, label) in EDGES.items()
        if (table[kind] > 0).any()
    ]
