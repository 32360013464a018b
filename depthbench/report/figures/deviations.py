"""What each change of a baseline costs: differences of errors, one row per variant."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from depthbench.analysis.rows import rows_of
from depthbench.analysis.summary import ERRORS
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.style import layout, legends, palette, tags, text

ROW = 0.17  # in: per variant and depth
MIN_RANGE = 0.125  # percentage points, so that rounding errors look like zero
SPREAD = 0.2  # part of a row, on each side of its middle, over which depths are spread
SEPARATOR: palette.Look = {"color": palette.BACKGROUND, "linewidth": 0.8}


def draw(evidence: Evidence) -> Figure | None:
    """Draw each variant's error minus that of its baseline (percentage points), with a colour per depth."""
    table = evidence.deviations
    if table.empty:
        return None
    baselines = list(dict.fromkeys(table["baseline"]))
    variants = [
        name for baseline in baselines for name in layout.networks_of(table[table["baseline"] == baseline])
    ]
    depths = sorted(table["depth"].unique())
    colours = palette.depth_colours(evidence.runs["depth"])
    shifts = dict(
        zip(depths, np.linspace(-SPREAD, SPREAD, len(depths)) if len(depths) > 1 else [0], strict=True)
    )
    statistics = f"each seed and the mean of {text.seed_count(table['n'])}"
    if table["low"].notna().any():
        statistics += ", with its 95 % interval"
    heading = f"Difference from the error of the baseline ({statistics})"
    figure, panels = layout.grid(1, len(ERRORS), 0.4 + ROW * len(variants) * max(1.4, len(depths)), heading)
    for axes, error in zip(panels[0], ERRORS.values(), strict=True):
        axes.axvline(0, color=palette.GREY, linewidth=0.8)
        for first in (variants.index(_first(table, baseline)) for baseline in baselines[1:]):
            axes.axhline(first - 0.5, **SEPARATOR)
        for row in rows_of(table[table["error"] == error]):
            with tags.tagged(axes, row["depth"], network=row["network"]):
                height = variants.index(row["network"]) + shifts[row["depth"]]
                _draw_difference(axes, row, height=height, colour=colours[row["depth"]])
        axes.set_title(error)
        axes.set_xlabel("difference (percentage points)")
        axes.grid(axis="y", visible=False)
    low, high = panels[0, 0].get_xlim()
    panels[0, 0].set_xlim(min(low, -MIN_RANGE), max(high, MIN_RANGE))
    panels[0, 0].xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    panels[0, 0].set_yticks(range(len(variants)), [_label(name, table) for name in variants])
    panels[0, 0].set_ylim(len(variants) - 0.4, -0.6)
    handles = legends.depth_handles({depth: colours[depth] for depth in depths})
    if table["diverged"].any():
        handles.append(
            legends.status_handle("diverged", label="with a diverged run, counted at chance error")
        )
    legends.legend_below(figure, handles)
    return figure


def _first(table: Any, baseline: str) -> str:
    return table.loc[table["baseline"] == baseline, "network"].iloc[0]


def _label(name: str, table: Any) -> str:
    return f"{name} vs {table.loc[table['network'] == name, 'baseline'].iloc[0]}"


def _draw_difference(axes: Axes, row: Mapping[str, Any], *, height: float, colour: str) -> None:
    """Draw the difference of each seed, their mean and its interval if it has one."""
    seeds = list(row["differences"].values())
    name = f"{row['network']} vs {row['baseline']}, depth {row['depth']}"
    value = f"difference in {row['error']}"
    short: palette.Look = {"marker": "|", "markersize": 5, "linestyle": "", "color": colour, "alpha": 0.6}
    (strokes,) = axes.plot(seeds, [height] * len(seeds), **short)
    tags.describe(strokes, tags.Series(name, "seed", value, "points", xs=list(row["differences"]), ys=seeds))
    if np.isfinite(row["low"]):
        axes.plot([row["low"], row["high"]], [height] * 2, color=colour, linewidth=1.2)
    marker = palette.STATUS_MARKERS["diverged"] if row["diverged"] else "o"
    size = 6.5 if row["diverged"] else 4.5
    (mean,) = axes.plot(row["mean"], height, color=colour, marker=marker, markersize=size)
    statistic = f"{name}, {text.mean_of(len(seeds))}"
    tags.describe(mean, tags.Series(statistic, "", value, "points", ys=[row["mean"]]))


FIGURE = ReportFigure(
    draw,
    title="What each change costs",
    chapter="changes",
    caption=(
        "Error of each variant minus that of its baseline, paired by seed. To the right of zero, the variant "
        "has the higher error. Each short line is one seed, and the marker is the mean of the seeds. From 5 "
        "seeds on, a bar is the 95 % interval of the mean, not corrected for the number of variants."
    ),
)
