"""Gradient norm by layer and step, one panel per network and depth, on one logarithmic colour scale."""

from dataclasses import replace
from functools import partial

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from depthbench.analysis.layers import thinned, zeros_by_design
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.figures.gradient_by_layer import QUANTITIES, thinned_note
from depthbench.report.style import canvas, layout, tags, text
from depthbench.report.style.norms import NormScale

COLOURS = matplotlib.colormaps["viridis"].with_extremes(under=canvas.PAPER)
NO_VALUE = "#c9c9c9"
MOST_LAYERS = 40  # rows of a panel: with more, a row is too low to point at
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
    networks, depths = layout.networks_of(layers), sorted(layers["depth"].unique())
    title, unit = QUANTITIES[column]
    seeds = text.seed_count(table["n"])
    heading = f"{title} by layer and step"
    figure, panels = layout.grid(len(depths), len(networks), 1.35, heading, sharex=False, sharey=False)
    scale = NormScale(positive)
    norm = scale.norm()
    steps = sorted(table["step"].unique())
    parts = dict(list(table.groupby(["network", "depth"])))
    shown = np.array([[(network, depth) in parts for network in networks] for depth in depths])
    first, last = layout.outer_panels(panels, shown)
    width = (figure.get_figwidth() - MARGIN) / panels[0, 0].get_gridspec().ncols
    counts = table.groupby(["depth", "network"])[
        "layer"
    ].nunique()  # if equal, only the leftmost are labelled
    for (r, c), axes in np.ndenumerate(panels):
        network, depth = networks[c], depths[r]
        layout.set_panel_title(axes, f"{network}, depth {depth}", width)
        tags.tag(axes, depth, network=network)
        axes.set_facecolor(NO_VALUE)
        axes.grid(False)
        axes.set(xticks=[], yticks=[])
        if shown[r, c]:  # otherwise not probed
            part = pd.concat(thinned(line, MOST_LAYERS) for _, line in parts[network, depth].groupby("step"))
            _draw_panel(axes, part, steps, norm)
            series = tags.Series(f"{network}, depth {depth}, geometric mean of {seeds}", "layer", unit)
            _describe(axes, part, steps, series)
        if shown[r, c] and (first[r, c] or counts[depth].nunique() > 1):
            _name_layers(axes, counts[depth][network], part["layer"].nunique())
        if last[r, c]:
            _name_steps(axes, steps)
    bar = figure.colorbar(ScalarMappable(norm, COLOURS), ax=panels, aspect=40, shrink=0.9, pad=0.02)
    bar.ax.minorticks_off()
    scale.label(bar.ax)
    bar.set_label(f"{unit},\ngeometric mean of {seeds}")
    cells = len(steps) * table.groupby(["network", "depth"])["layer"].nunique().sum()
    notes = ["White: exactly zero in a seed."] if table["zeros"].any() else []
    if len(zeros_by_design(layers, column)):
        notes.append("White at step 0 is by design, as a branch starts at zero.")
    if table["lost"].any() or len(table) < cells or not shown.all():
        notes.append("Grey: not probed, or infinite or not a number in a seed.")
    notes += [f"{note}." for note in (scale.note("Colours are"), thinned_note(table, MOST_LAYERS)) if note]
    if notes:
        note = text.wrapped(" ".join(notes), figure.get_figwidth(), text.NOTE_SIZE)
        figure.supxlabel(note, x=0.01, ha="left", fontsize=text.NOTE_SIZE)
    return figure


def _draw_panel(axes: Axes, part: pd.DataFrame, steps: list[int], norm: Normalize) -> None:
    """Draw a cell per layer and step, as pixels, because thousands of shapes would make the SVG slow."""
    cells = _cells(part, steps)
    assert norm.vmin is not None
    below = cells.mask(cells == 0, norm.vmin / 10)  # the scale
    look = {"cmap": COLOURS, "norm": norm, "cbar": False, "rasterized": True}
    sns.heatmap(below.astype(float), ax=axes, xticklabels=False, yticklabels=False, **look)
    axes.set(xlabel=None, ylabel=None)


def _describe(axes: Axes, part: pd.DataFrame, steps: list[int], series: tags.Series) -> None:
    """Describe each cell by its layer, its step and its value."""
    cells = _cells(part, steps)
    places = [f"{layer:g}, step {step}" for layer in cells.index for step in steps]
    (mesh,) = axes.collections
    tags.describe(mesh, replace(series, xs=places, ys=cells.to_numpy().ravel().tolist()))


def _cells(part: pd.DataFrame, steps: list[int]) -> pd.DataFrame:
    return part.pivot(index="layer", columns="step", values="mean").reindex(columns=steps)


def _name_layers(axes: Axes, layers: int, rows: int) -> None:
    """Label the first, the middle and the last of the layers, which `rows` rows of cells show."""
    ends = sorted({1, layers // 2, layers} - {0})
    axes.set_yticks([(layer - 0.5) * rows / layers for layer in ends], map(str, ends), rotation=0)
    axes.set_ylabel("layer (1 = input)")


def _name_steps(axes: Axes, steps: list[int]) -> None:
    shown = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 11)).round().astype(int))
    axes.set_xticks(shown + 0.5, [text.short_count(steps[i]) for i in shown], rotation=0)
    axes.set_xlabel("step (as probed)")


PREACTIVATIONS = ReportFigure(
    partial(draw, column="grad_norm_preact"),
    title="Gradient by layer and step",
    chapter="gradients",
    caption=(
        "Norm of the gradient of the loss with respect to each layer's output before normalisation. Each "
        "row of cells is a layer, and each column is a probed step. All panels share one colour scale. "
        "A dark corner at the top right means that the early layers have lost their gradient."
    ),
    choice="pre-activations",
    needs="the probe `grad_norm_preact`",
)

WEIGHTS = ReportFigure(
    partial(draw, column="grad_norm_weight"),
    title="Gradient by layer and step",
    chapter="gradients",
    caption=(
        "Norm of the gradient of the loss with respect to each layer's weights. Each row of cells is a "
        "layer, and each column is a probed step. All panels share one colour scale."
    ),
    choice="weights",
    needs="the probe `grad_norm_weight`",
)
