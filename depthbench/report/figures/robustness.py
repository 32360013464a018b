"""Test error on corrupted images against the strength of the corruption, a column a corruption."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.analysis.robustness import summarise_robustness
from depthbench.data.corruptions import CORRUPTIONS
from depthbench.report import style
from depthbench.report.figures.response_std import DASHES, twins_together
from depthbench.store.results import Results


def draw(results: Results, robustness: pd.DataFrame) -> Figure | None:
    """Mean over seeds and range (percent), a line a depth; twins share a row, the plain one dashed."""
    if robustness.empty:
        return None
    table = summarise_robustness(robustness)
    rows = twins_together(results, style.networks_of(table))
    columns = [name for name in CORRUPTIONS if name in set(table["corruption"])]
    colours = style.depth_colours(results.runs["depth"])
    title = f"Last test error on corrupted images (mean and range of {style.seeds(table['n'])})"
    figure, panels = style.grid(len(rows), len(columns), 2.1, title, sharex="col")
    for row, networks in zip(panels, rows, strict=True):
        for axes, corruption in zip(row, columns, strict=True):
            for network, kind in networks.items():
                here = table[(table["network"] == network) & (table["corruption"] == corruption)]
                for depth, line in here.groupby("depth"):
                    with style.of_depth(axes, depth):
                        look = {
                            "color": colours[depth],
                            "dashes": DASHES[kind],
                            "marker": "o",
                            "markersize": 3,
                        }
                        axes.plot(line["strength"], line["mean"], **look)
                        band = {"color": colours[depth], "alpha": 0.13, "linewidth": 0}
                        axes.fill_between(line["strength"], line["min"], line["max"], **band)
            style.name_panel(axes, f"{' and '.join(networks)}, {corruption}")
        style.label_left(row, "test error (%)")
    for axes, corruption in zip(panels[-1], columns, strict=True):
        strengths = (0, *CORRUPTIONS[corruption].strengths)
        axes.set_xlabel(CORRUPTIONS[corruption].unit.replace(", ", ",\n"))
        axes.set_xlim(0, 1.03 * strengths[-1])
        axes.set_xticks(strengths, [f"{strength:g}" for strength in strengths])
    panels[0, 0].set_ylim(0, 1.06 * table["max"].max() or 1)
    handles = style.depth_handles(colours)
    if any(len(networks) > 1 for networks in rows):
        handles += [Line2D([], [], color="#444444", label=k, dashes=d) for k, d in DASHES.items()]
    style.legend_below(figure, handles)
    return figure
