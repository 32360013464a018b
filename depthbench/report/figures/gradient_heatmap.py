"""Gradient norm by layer and step, one panel per network and depth, on one logarithmic colour scale."""

from collections.abc import Collection
from functools import partial
from itertools import groupby
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from depthbench.analysis.layers import thinned
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.figures.gradient_by_layer import BY_DESIGN, DROPPED, QUANTITIES, thinned_note
from depthbench.report.style import canvas, layout, legends, palette, tags, text
from depthbench.report.style.norms import NormScale

COLOURS = matplotlib.colormaps["viridis"]
NO_VALUE = "#c9c9c9"
NOT_PROBED = "not probed"
MARKED = {  # column of `by_layer` with the count of values without a colour -> name, hatch
    "zeros": ("exactly zero in a seed", "/////"),
    "by_design": (BY_DESIGN, "\\\\\\"),
    "infinite": ("infinite in a seed", "+++++"),
    "nans": ("not a number in a seed", "xxxxx"),
    "unmeasured": ("not measured in a seed", "....."),
}
# differs from the colours of the scale, on white and on dark pages
HATCHED: dict[str, Any] = {"facecolor": canvas.PAPER, "edgecolor": palette.GREY, "linewidth": 0}
MOST_LAYERS = 40  # rows of a panel: with more, a row is too low to point at
MOST_PANELS = 24  # of a page: with more, a figure needs minutes and is too long to compare anything
MARGIN = 1.4  # in: the colour bar, and an axis label with its ticks


def draw(evidence: Evidence, column: str) -> Figure | None:
    """Draw the geometric mean over seeds of `column` as colour. The probed steps are evenly spaced."""
    layers = evidence.layers
    if column not in evidence.gradients:
        return None
    table = evidence.gradients[column]
    positive = table.loc[table["mean"] > 0, "mean"]
    if positive.empty:
        return None
    places = _places(layers)
    title, unit = QUANTITIES[column]
    seeds = text.seed_count(table["n"])
    heading = f"{title} by layer and step"
    figure, panels = layout.grid(len(places), len(places[0]), 1.35, heading, sharex=False, sharey=False)
    scale = NormScale(positive)
    norm = scale.norm()
    steps = sorted(table["step"].unique())
    parts = dict(list(table.groupby(["network", "depth"])))
    shown = np.array([[place in parts for place in row] for row in places])
    first, last = layout.outer_panels(panels, shown)
    width = (figure.get_figwidth() - MARGIN) / panels[0, 0].get_gridspec().ncols
    counts = table.groupby(["network", "depth"])["layer"].nunique().to_dict()
    for (r, c), axes in np.ndenumerate(panels):
        network, depth = places[r][c]
        layout.set_panel_title(axes, f"{network}, depth {depth}", width)
        tags.tag(axes, depth, network=network)
        axes.set_facecolor(NO_VALUE)
        axes.grid(False)
        axes.set(xticks=[], yticks=[])
        if shown[r, c]:  # otherwise not probed
            part = pd.concat(thinned(line, MOST_LAYERS) for _, line in parts[network, depth].groupby("step"))
            _draw_panel(axes, part, steps, norm)
            _describe(
                axes, part, steps, name=f"{network}, depth {depth}, geometric mean of {seeds}", unit=unit
            )
        differ = len({counts[place] for place in places[r] if place in counts}) > 1
        if shown[r, c] and (first[r, c] or differ):  # if equal, only the leftmost are labelled
            _name_layers(axes, counts[network, depth], part["layer"].nunique())
        if last[r, c]:
            _name_steps(axes, steps, width)
    bar = figure.colorbar(ScalarMappable(norm, COLOURS), ax=panels, aspect=40, shrink=0.9, pad=0.02)
    bar.ax.minorticks_off()
    scale.label(bar.ax)
    bar.set_label(f"{unit},\ngeometric mean of {seeds}")
    cells = len(steps) * sum(counts.values())
    notes = []
    if len(parts) > shown.sum():
        kinds = "deepest depth" if len(places) == 1 else "shallowest and the deepest depth"
        why = ". The page shows all." if canvas.is_slide() and len(parts) <= MOST_PANELS else _too_many(parts)
        notes.append(f"Shown: the {kinds} of each network{why}")
    notes += [f"{note}." for note in (scale.note("Colours are"), thinned_note(table, MOST_LAYERS)) if note]
    handles = marked_handles(table)
    if len(table) < cells or not shown.all():
        handles.append(Patch(facecolor=NO_VALUE, label=NOT_PROBED))
    if handles or notes:
        legends.legend_below(figure, handles, note=" ".join(notes) or None)
    return figure


def marked_handles(table: pd.DataFrame) -> list[Patch]:
    """Make the legend entries of the cells of `table` that have no colour."""
    return [
        Patch(label=label, hatch=hatch, **HATCHED)
        for column, (label, hatch) in MARKED.items()
        if (table[column].any() if column != "zeros" else (table["zeros"] * ~table["by_design"]).any())
    ]


def _places(layers: pd.DataFrame) -> list[list[tuple[str, int]]]:
    """Return the network and depth of each panel: a column for each network, and a row for each depth.

    A slide, or a page that would have more than MOST_PANELS, shows the shallowest and the deepest depth of
    each network, or only the deepest of many."""
    networks, depths = layout.networks_of(layers), sorted(layers["depth"].unique())
    if not canvas.is_slide() and len(networks) * len(depths) <= MOST_PANELS:
        return [[(network, depth) for network in networks] for depth in depths]
    ends = layers.groupby("network")["depth"].agg(["min", "max"])
    are_many = canvas.most_rows(len(networks)) == 1 if canvas.is_slide() else 2 * len(networks) > MOST_PANELS
    if are_many or (ends["min"] == ends["max"]).any():
        ends = ends[["max"]]
    return [[(network, int(ends[end][network])) for network in networks] for end in ends]


def _too_many(parts: Collection[Any]) -> str:
    """Say why a figure omits depths."""
    return f", because {len(parts)} panels would be too many."


def _draw_panel(axes: Axes, part: pd.DataFrame, steps: list[int], norm: Normalize) -> None:
    """Draw a cell per layer and step, as pixels, because thousands of shapes would make the SVG slow."""
    cells, kinds = _cells(part, steps), _kinds(part, steps)
    # seaborn would look for limits in the cells, of which none may be a number
    limits = {"norm": norm, "vmin": norm.vmin, "vmax": norm.vmax}
    look = {**limits, "cmap": COLOURS, "cbar": False, "rasterized": True}
    has_colour = cells.where(kinds == "").astype(float)
    sns.heatmap(has_colour, ax=axes, xticklabels=False, yticklabels=False, **look)
    axes.set(xlabel=None, ylabel=None)
    for column, of_step in enumerate(kinds.to_numpy().T):
        top = 0
        for kind, rows in groupby(of_step):
            count = len(list(rows))
            if kind:
                _, hatch = MARKED[kind]
                axes.add_patch(Rectangle((column, top), 1, count, hatch=hatch, **HATCHED))
            top += count


def _describe(axes: Axes, part: pd.DataFrame, steps: list[int], *, name: str, unit: str) -> None:
    """Describe each cell by its layer, its step and its value."""
    cells = _cells(part, steps)
    (mesh,) = axes.collections
    rows, columns = [f"{layer:g}" for layer in cells.index], [f", step {step}" for step in steps]
    kinds = _kinds(part, steps).to_numpy().ravel()
    values = [
        MARKED[kind][0] if kind and (value != 0 or kind == "by_design") else value
        for kind, value in zip(kinds, cells.to_numpy().ravel().tolist(), strict=True)
    ]
    tags.describe(mesh, tags.Series(name, "layer", unit, ys=values, rows=rows, columns=columns))


def _cells(part: pd.DataFrame, steps: list[int]) -> pd.DataFrame:
    return part.pivot(index="layer", columns="step", values="mean").reindex(columns=steps)


def _kinds(part: pd.DataFrame, steps: list[int]) -> pd.DataFrame:
    """Return the key of MARKED for each cell, or "" for a cell with a colour or without a row."""
    kinds = pd.Series("", part.index)
    for column in MARKED:
        without = part["mean"].isna() if column == "unmeasured" else True  # other seeds may have a mean
        kinds = kinds.mask((part[column] > 0) & without & (kinds != "infinite"), column)
    table = part.assign(kind=kinds).pivot(index="layer", columns="step", values="kind")
    return table.reindex(columns=steps).fillna("")


def _name_layers(axes: Axes, layers: int, rows: int) -> None:
    """Label the first, the middle and the last of the layers, which `rows` rows of cells show."""
    ends = sorted({1, layers // 2, layers} - {0})
    axes.set_yticks([(layer - 0.5) * rows / layers for layer in ends], map(str, ends), rotation=0)
    axes.set_ylabel("layer (1 = input)")


def _name_steps(axes: Axes, steps: list[int], width: float) -> None:
    """Label the first column, the last, and those between whose labels fit on a panel of `width` inches."""
    labels = [text.short_count(step) for step in steps]
    character = text.CHARACTER * canvas.RC["xtick.labelsize"] / 72 * len(steps) / width  # in columns
    sizes = [character * (len(label) + 1) for label in labels]
    shown = [len(steps) - 1]
    for column in reversed(range(len(steps) - 1)):
        if all(
            abs(other - column) >= (sizes[other] + sizes[column]) / 2 for other in (0, shown[-1]) if column
        ):
            shown.append(column)
    axes.set_xticks([column + 0.5 for column in shown], [labels[column] for column in shown], rotation=0)
    axes.set_xlabel("step (as probed)")


PREACTIVATIONS = ReportFigure(
    partial(draw, column="grad_norm_preact"),
    title="Gradient by layer and step",
    chapter="gradients",
    caption=(
        "Norm of the gradient of the loss with respect to each layer's output before normalisation. Each "
        "row of cells is a layer, and each column is a probed step. All panels share one colour scale. "
        f"A dark corner at the top right means that the early layers have lost their gradient. {DROPPED}"
    ),
    choice="pre-activations",
    needs="positive values of the probe `grad_norm_preact`",
)

WEIGHTS = ReportFigure(
    partial(draw, column="grad_norm_weight"),
    title="Gradient by layer and step",
    chapter="gradients",
    caption=(
        "Norm of the gradient of the loss with respect to each layer's weights. Each row of cells is a "
        "layer, and each column is a probed step. All panels share one colour scale. A dark corner at the "
        f"top right means that the weights of the early layers receive almost no gradient. {DROPPED}"
    ),
    choice="weights",
    needs="positive values of the probe `grad_norm_weight`",
)
