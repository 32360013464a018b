"""Which classes are taken for which, at the least and the greatest depth of each network."""

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from depthbench.analysis.classes import confusion
from depthbench.report import style
from depthbench.store.results import Results

MOST_CLASSES = 12
COLOURS = matplotlib.colormaps["Blues"]
SCALE = PowerNorm(0.5, 0, 100)  # on a straight one a mistake of a few percent is as white as none
LEAST_CELL = 0.19  # in: room for `100` at 7 pt
BESIDE = 1.15  # in: the scale of colours, and the name of an axis
TITLE_LINE = 0.14  # in: the height of one more
SHOWN_FROM = 0.5  # percent
LONGEST = 12  # letters of a class's name


def draw(results: Results, predictions: pd.DataFrame) -> Figure | None:
    """A panel a network and depth, rows true and columns predicted classes, in percent of a row."""
    if predictions.empty or len(predictions["label"].cat.categories) > MOST_CLASSES:
        return None
    networks = style.networks_of(predictions)
    depths = {n: group["depth"].agg(["min", "max"]) for n, group in predictions.groupby("network")}
    rows = 2 if any(ends["min"] < ends["max"] for ends in depths.values()) else 1
    across = min(len(networks), style.MOST_COLUMNS)
    names = 0.06 * min(max(map(len, predictions["label"].cat.categories)), LONGEST)  # in: their length
    side = (style.least_width() - BESIDE - names) / max(across, 2)  # in: of a panel
    known = style.seeds(predictions.groupby(["network", "depth"])["run_id"].nunique())
    title = f"Test images of each class by what they are called ({known})"
    lines = max(style.panel_title(f"{n}, depth {d}", side).count("\n") for n in networks for d in depths[n])
    height = side + 0.35 + TITLE_LINE * lines + names / rows
    figure, panels = style.grid(rows, len(networks), height, title, sharex=False, sharey=False)
    ends = [depths[network].unique() for network in networks]
    first, last = style.edges(panels, np.array([[r < len(each) for each in ends] for r in range(rows)]))
    for (r, c), axes in np.ndenumerate(panels):
        if r >= len(ends[c]):  # it has one depth, and others have two
            axes.set_visible(False)
            continue
        network, depth = networks[c], ends[c][r]
        here = (predictions["network"] == network) & (predictions["depth"] == depth)
        matrix = confusion(predictions[here])
        _draw_panel(axes, matrix, numbers=side / len(matrix) >= LEAST_CELL)
        _name_classes(axes, list(matrix.index), first[r, c], last[r, c])
        style.name_panel(axes, f"{network}, depth {depth}", side)
        style.is_of_depth(axes, depth)
    bar = figure.colorbar(ScalarMappable(SCALE, COLOURS), ax=panels, aspect=40, shrink=0.9, pad=0.02)
    bar.set_ticks([0, 1, 5, 10, 25, 50, 75, 100])
    bar.set_label("images of a class (%)")
    return figure


def _draw_panel(axes: Axes, matrix: pd.DataFrame, numbers: bool) -> None:
    told = np.where(matrix >= SHOWN_FROM, matrix.round().astype(int).astype(str), "")
    axes.grid(False)
    sns.heatmap(
        matrix.to_numpy(),
        ax=axes,
        cmap=COLOURS,
        norm=SCALE,
        cbar=False,
        square=True,
        annot=told if numbers else False,
        fmt="",
        annot_kws={"fontsize": 7},
        xticklabels=False,
        yticklabels=False,
        linewidths=0.4,
        linecolor="#e4e4e4",
    )


def _name_classes(axes: Axes, classes: list[str], is_first: bool, is_last: bool) -> None:
    """Left of the first panel of a row, and below the last of a column."""
    names = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in classes]
    middles = np.arange(len(names)) + 0.5
    if is_first:
        axes.set_yticks(middles, names)
        axes.set_ylabel("class")
    if is_last:
        axes.set_xticks(middles, names, rotation=90 if max(map(len, names)) > 2 else 0)
        axes.set_xlabel("predicted class")
