"""Confusion matrices of the shallowest and the deepest depth of each network."""

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm, to_hex
from matplotlib.figure import Figure

from depthbench.analysis.classes import confusion
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.style import layout, tags, text
from depthbench.report.style.canvas import GRID, MOST_COLUMNS, PAPER, current_canvas, is_slide

MOST_CLASSES = 12
# of few colours, so that the bar is drawn as cells: a picture could not follow a dark page
COLOURS = matplotlib.colormaps["Blues"].resampled(40).with_extremes(bad=PAPER)
SCALE = PowerNorm(0.5, 0, 100)  # on a linear scale a few percent would look as white as zero
MIN_CELL = 0.19  # in: `100` fits at 7 pt
MARGIN = 0.55  # in: the axis label
MOST_ON_SLIDE = 2  # panels: with more, the numbers are too small
BAR = 0.6  # in: the height of the colour bar with its labels
TITLE_LINE = 0.14  # in: the height of a further line
ON_DARK, ON_LIGHT = "#fcfcfd", "#262627"  # numbers on cells
SHOWN_FROM = 0.5  # percent
LONGEST = 12  # characters of a class name


def draw(evidence: Evidence) -> Figure | None:
    """Draw one panel per network and depth: true classes (rows) by predicted classes, in % of the row."""
    predictions = evidence.predictions
    if predictions.empty or len(predictions["label"].cat.categories) > MOST_CLASSES:
        return None
    cells, heading = _cells(predictions), "Test images of each class by predicted class"
    if is_slide() and len(cells) > MOST_ON_SLIDE:
        cells, heading = list(dict(cells).items()), f"{heading}, deepest networks"
    seeds = predictions.groupby(["network", "depth"])["run_id"].nunique()
    heading = f"{heading} ({text.seed_count(seeds[cell] for cell in cells)})"
    classes = predictions["label"].cat.categories
    figure, panels, side = _panels(cells, heading, longest=min(max(map(len, classes)), LONGEST))
    for axes, (network, depth) in zip(panels.values(), cells, strict=True):
        here = (predictions["network"] == network) & (predictions["depth"] == depth)
        matrix = confusion(predictions[here])
        # several panels fill the page, and one would be too wide
        _draw_panel(axes, matrix, show_numbers=side / len(matrix) >= MIN_CELL, is_square=len(cells) == 1)
        layout.set_panel_title(axes, f"{network}, depth {depth}", side)
        tags.tag(axes, depth, network=network)
        name = f"{network}, depth {depth}, {text.seed_count([seeds[network, depth]])}"
        rows, columns = list(map(str, matrix.index)), [f" → {label}" for label in matrix.columns]
        x, y, values = "class → predicted class", "images of the class", matrix.to_numpy().ravel().tolist()
        series = tags.Series(name, x, y, "%", ys=values, rows=rows, columns=columns)
        tags.describe(axes.collections[0], series)
    places = list(panels)
    for (row, column), axes in panels.items():
        is_last = not any(r > row and c == column for r, c in places)
        _name_classes(axes, list(classes), is_first=column == 0, is_last=is_last)
    height = figure.get_figheight()
    bar = figure.colorbar(
        ScalarMappable(SCALE, COLOURS),
        ax=list(panels.values()),
        location="bottom",
        aspect=50,
        shrink=0.7,
        fraction=0.2 / height,
        pad=0.1 / height,
    )
    bar.set_ticks([0, 1, 5, 10, 25, 50, 75, 100])
    bar.set_label("images of a class (%)")
    return figure


def _cells(predictions: pd.DataFrame) -> list[tuple[str, int]]:
    """Return the network and depth of each panel: the shallowest and the deepest depth of each network."""
    cells = []
    for network in layout.networks_of(predictions):
        depths = predictions.loc[predictions["network"] == network, "depth"]
        cells += [(network, depth) for depth in dict.fromkeys([int(depths.min()), int(depths.max())])]
    return cells


def _panels(
    cells: list[tuple[str, int]], heading: str, longest: int
) -> tuple[Figure, dict[tuple[int, int], Axes], float]:
    """Return a figure, its panels by row and column in the order of `cells`, and the width of a panel (in).

    `longest`: the number of characters of a class name. The two depths of a network are side by side, or
    below each other if there are more than two networks."""
    canvas, networks = current_canvas(), list(dict.fromkeys(network for network, _ in cells))
    are_pairs = len(cells) == 2 * len(networks)
    names = 0.06 * longest  # in
    if is_slide():
        columns = None
        side = canvas.width / 2 - MARGIN if len(cells) <= 2 else canvas.panel - MARGIN / 2
    else:
        columns = 2 if are_pairs and len(networks) <= 2 else min(len(cells), MOST_COLUMNS)
        side = (canvas.width - MARGIN - names) / max(columns, 2)
    lines = max(text.panel_title(f"{n}, depth {d}", side).count("\n") for n, d in cells)
    rows = -(-len(cells) // columns) if columns else 1
    height = (side + 0.35 + TITLE_LINE * lines + names / 2 + BAR / rows) / canvas.height
    if are_pairs and len(networks) > 2 and not is_slide():
        figure, grid = layout.grid(2, len(networks), height, heading, sharex=False, sharey=False)
        drawn = list(grid.T.flat)
    else:
        figure, grid = layout.flow(len(cells), height, heading, columns, share=False)
        drawn = [axes for axes in grid.flat if axes is not None]
    positions = [axes.get_subplotspec() for axes in drawn]
    return (
        figure,
        {(p.rowspan.start, p.colspan.start): a for p, a in zip(positions, drawn, strict=True)},
        side,
    )


def _draw_panel(axes: Axes, matrix: pd.DataFrame, show_numbers: bool, is_square: bool) -> None:
    numbers = np.where(matrix >= SHOWN_FROM, matrix.round().astype(int).astype(str), "")
    axes.grid(False)
    sns.heatmap(
        matrix.to_numpy(),
        mask=matrix.to_numpy() == 0,  # the colour of the page
        ax=axes,
        cmap=COLOURS,
        norm=SCALE,
        vmin=SCALE.vmin,
        vmax=SCALE.vmax,
        cbar=False,
        square=is_square,
        annot=numbers if show_numbers else False,
        fmt="",
        annot_kws={"fontsize": 7},
        xticklabels=False,
        yticklabels=False,
        linewidths=0.4,
        linecolor=GRID,
    )

    for number in axes.texts:  # other colours than those of the page, as a dark page inverts the cells
        number.set_color(ON_DARK if to_hex(number.get_color()) == "#ffffff" else ON_LIGHT)


def _name_classes(axes: Axes, classes: list[str], is_first: bool, is_last: bool) -> None:
    """Name the classes left of the first panel of a row, and below the last of a column."""
    names = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in classes]
    middles = np.arange(len(names)) + 0.5
    if is_first:
        axes.set_yticks(middles, names)
        axes.set_ylabel("class")
    if is_last:
        axes.set_xticks(middles, names, rotation=90 if max(map(len, names)) > 2 else 0)
        axes.set_xlabel("predicted class")


FIGURE = ReportFigure(
    draw,
    title="Confusion matrices",
    chapter="classes",
    caption=(
        "Predictions of each network over all seeds with stored predictions. Of a network with several "
        "depths, the shallowest and the deepest are shown. Each cell is the percentage of the images of a "
        "true class (row) that are predicted as a class (column). Cells off the diagonal are mistakes. The "
        "colour scale follows the square root, so that rare mistakes are visible. Percentages of at least "
        "0.5 % are printed where they fit."
    ),
    needs="a finished run with stored predictions and at most 12 classes",
)
