"""Test error on corrupted images against the strength of the corruption, one column per corruption."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.data.corruptions import CORRUPTIONS
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.figures.twins import DASHES, group_twins
from depthbench.report.style import layout, legends, palette, tags, text

MOST_DEPTHS = 3  # of twins in one panel: six lines, drawn as if they had no twin if there are more


def draw(evidence: Evidence) -> Figure | None:
    """Draw the mean over seeds and the range (percent), one line per depth. Twins share a row."""
    table = evidence.robustness
    if table.empty:
        return None
    rows = group_twins(evidence.twins, layout.networks_of(table))
    if table["depth"].nunique() > MOST_DEPTHS:
        rows = [{network: "residual"} for networks in rows for network in networks]
    stored = list(table["corruption"].unique())
    columns = [name for name in CORRUPTIONS if name in stored]
    columns += [name for name in stored if name not in CORRUPTIONS]  # of another version
    colours = palette.depth_colours(evidence.runs["depth"])
    title = f"Final test error on corrupted images (mean and range of {text.seed_count(table['n'])})"
    figure, panels = layout.grid(len(rows), len(columns), 2.1, title, sharex="col")
    for row, networks in zip(panels, rows, strict=True):
        for axes, corruption in zip(row, columns, strict=True):
            for network, kind in networks.items():
                here = table[(table["network"] == network) & (table["corruption"] == corruption)]
                for depth, line in layout.by_depth(here):
                    with tags.tagged(axes, depth, network=network):
                        drawn = _draw_line(axes, line, colours[depth], DASHES[kind])
                    name = f"{network}, depth {depth}, {text.mean_of(line['n'].iloc[0])}; {corruption}"
                    tags.describe(drawn, tags.Series(name, "strength", "test error", "%"))
            layout.set_panel_title(axes, f"{' and '.join(networks)}, {corruption}")
        layout.label_left(row, "test error (%)")
    for axes, corruption in zip(panels[-1], columns, strict=True):
        strengths = sorted(table.loc[table["corruption"] == corruption, "strength"].unique())
        unit = CORRUPTIONS[corruption].unit if corruption in CORRUPTIONS else "strength"
        axes.set_xlabel(unit.replace(", ", ",\n"))
        axes.set_xlim(0, 1.03 * strengths[-1])
        axes.set_xticks(strengths, [f"{strength:g}" for strength in strengths])
    panels[0, 0].set_ylim(0, 1.06 * table["max"].max() or 1)
    handles = legends.depth_handles(colours)
    if any(len(networks) > 1 for networks in rows):
        handles += [Line2D([], [], color=palette.GREY, label=k, dashes=d) for k, d in DASHES.items()]
    legends.legend_below(figure, handles)
    return figure


def _draw_line(axes: Axes, line: pd.DataFrame, colour: str, dashes: tuple[float | None, ...]) -> Line2D:
    """Draw the mean error of one network and depth against the strength, and its range; return the line."""
    (mean,) = axes.plot(line["strength"], line["mean"], color=colour, dashes=dashes, marker="o", markersize=3)
    axes.fill_between(line["strength"], line["min"], line["max"], color=colour, alpha=0.13, linewidth=0)
    return mean


FIGURE = ReportFigure(
    draw,
    title="Errors on corrupted images",
    chapter="classes",
    caption=(
        "Final test error against the strength of a corruption. Strength 0 is the clean images. All runs see "
        "the same corrupted images, and the band is the range over seeds. A flatter line means a more robust "
        "network. The plain network of a pair of twins is dashed. A diverged run counts at chance error."
    ),
)
