"""Confusion matrices of the shallowest and the deepest depth of each network."""

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from depthbench.analysis.classes import confusion
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.style import canvas, layout, tags, text

MOST_CLASSES = 12
COLOURS = matplotlib.colormaps["Blues"]
SCALE = PowerNorm(0.5, 0, 100)  # on a linear scale a few percent would look as white as zero
MIN_CELL = 0.19  # in: `100` fits at 7 pt
MARGIN = 1.15  # in: the colour bar and the axis label
TITLE_LINE = 0.14  # in: the height of each further line
SHOWN_FROM = 0.5  # percent
LONGEST = 12  # characters of a class name


def draw(evidence: Evidence) -> Figure | None:
    """Draw one panel per network and depth: true classes (rows) by predicted classes, in % of the row."""
    predictions = evidence.predictions
    if predictions.empty or len(predictions["label"].cat.categories) > MOST_CLASSES:
        return None
    networks = layout.networks_of(predictions)
    depths = {n: group["depth"].agg(["min", "max"]) for n, group in predictions.groupby("network")}
    rows = 2 if any(ends["min"] < ends["max"] for ends in depths.values()) else 1
    across = min(len(networks), canvas.MOST_COLUMNS)
    names = 0.06 * min(max(map(len, predictions["label"].cat.categories)), LONGEST)  # in: their length
    side = (canvas.current_canvas().width - MARGIN - names) / max(across, 2)  # in: of a panel
    seeds = text.seed_count(predictions.groupby(["network", "depth"])["run_id"].nunique())
    title = f"Test images of each class by predicted class ({seeds})"
    lines = max(text.panel_title(f"{n}, depth {d}", side).count("\n") for n in networks for d in depths[n])
    height = side + 0.35 + TITLE_LINE * lines + names / rows
    figure, panels = layout.grid(rows, len(networks), height, title, sharex=False, sharey=False)
    ends = [depths[network].unique() for network in networks]
    first, last = layout.outer_panels(
        panels, np.array([[r < len(each) for each in ends] for r in range(rows)])
    )
    for (r, c), axes in np.ndenumerate(panels):
        if r >= len(ends[c]):  # this network has one depth, others have two
            axes.set_visible(False)
            continue
        network, depth = networks[c], int(ends[c][r])
        here = (predictions["network"] == network) & (predictions["depth"] == depth)
        matrix = confusion(predictions[here])
        _draw_panel(axes, matrix, show_numbers=side / len(matrix) >= MIN_CELL)
        _name_classes(axes, list(matrix.index), bool(first[r, c]), bool(last[r, c]))
        layout.set_panel_title(axes, f"{network}, depth {depth}", side)
        tags.tag(axes, depth)
    bar = figure.colorbar(ScalarMappable(SCALE, COLOURS), ax=panels, aspect=40, shrink=0.9, pad=0.02)
    bar.set_ticks([0, 1, 5, 10, 25, 50, 75, 100])
    bar.set_label("images of a class (%)")
    return figure


def _draw_panel(axes: Axes, matrix: pd.DataFrame, show_numbers: bool) -> None:
    numbers = np.where(matrix >= SHOWN_FROM, matrix.round().astype(int).astype(str), "")
    axes.grid(False)
    sns.heatmap(
        matrix.to_numpy(),
        ax=axes,
        cmap=COLOURS,
        norm=SCALE,
        cbar=False,
        square=True,
        annot=numbers if show_numbers else False,
        fmt="",
        annot_kws={"fontsize": 7},
        xticklabels=False,
        yticklabels=False,
        linewidths=0.4,
        linecolor="#e4e4e4",
    )


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
        "Predictions at the shallowest and the deepest depth of each network, over all seeds. Each cell is "
        "the percentage of the images of a true class (row) that are predicted as a class (column). Cells "
        "off the diagonal are mistakes. The colour scale follows the square root, so that rare mistakes are "
        "visible. Percentages of at least 0.5 % are printed where they fit. Diverged runs have no "
        "predictions and are omitted."
    ),
    needs="a finished run with stored predictions and at most 12 classes",
)
