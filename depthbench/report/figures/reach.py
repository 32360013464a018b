"""The fraction of seeds that have reached a train error by each step: Kaplan-Meier curves."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from depthbench.analysis.reach import evaluated_steps, reach_curves, reach_times
from depthbench.analysis.rows import rows_of
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.style import canvas, layout, legends, palette, tags, text, ticks
from depthbench.report.tables.reach import level_of

SHIFT, WIDEST = 1.6, 6.4  # points between two depths and between all, so that no line hides another
HALF: palette.Look = {"color": palette.GREY, "linewidth": 0.6, "dashes": (1, 2)}
CENSORED: palette.Look = {"marker": ">", "markersize": 5, "markerfacecolor": canvas.PAPER, "linestyle": ""}


def draw(evidence: Evidence) -> Figure | None:
    """Draw the percentage of runs that have reached the level, one panel per network, a line per depth."""
    runs, history, level = evidence.runs, evidence.history, level_of(evidence.study)
    steps = evaluated_steps(runs, history)
    if len(steps) < 2:
        return None
    times = reach_times(runs, history, level)
    if not times["reached"].any():
        return None
    curves = reach_curves(times)
    networks = layout.networks_of(times)
    colours = palette.chosen_depth_colours(sorted(runs["depth"].unique()))
    named = palette.named_depths(colours)
    seeds = text.seed_count(times.groupby(["network", "depth"]).size())
    heading = f"Runs that have reached a train error of {level:g} % ({seeds})"
    figure, panels = layout.flow(len(networks), 2.2, heading)
    depths, end = sorted(colours), max(steps[-1], times["step"].max())
    for axes, network in zip(panels.flat, networks, strict=False):
        axes.axhline(50, **HALF)
        for depth, curve in layout.by_depth(curves[curves["network"] == network]):
            own = times[(times["network"] == network) & (times["depth"] == depth)]
            shift = min(SHIFT, WIDEST / max(len(depths) - 1, 1)) * (len(depths) - 1 - depths.index(depth))
            with tags.tagged(axes, depth, network=network):
                draw_curve(axes, curve, own, colour=colours[depth], shift=shift, end=end)
        layout.set_panel_title(axes, network)
    layout.label_outer(panels, networks, x="step (updates made)", y="runs (%)")
    panels[0, 0].set_ylim(-8, 104)
    panels[0, 0].set_yticks(range(0, 101, 25))
    ticks.step_axis(panels[0, 0], end)

    handles: list[Line2D] = legends.depth_handles(named)
    handles += legends.background_handles(["other depths"] if len(named) < len(colours) else [])
    handles.append(Line2D([], [], label="half of the runs", **HALF))
    others = times[~times["reached"]]
    if (others["status"] != "diverged").any():
        handles.append(Line2D([], [], label="not reached so far", **CENSORED | {"color": palette.GREY}))
    handles += legends.status_handles(
        others[others["status"] == "diverged"], {"diverged": "diverged, cannot reach it"}
    )
    legends.legend_below(figure, handles)
    return figure


def draw_curve(
    axes: Axes, curve: pd.DataFrame, times: pd.DataFrame, *, colour: str, shift: float, end: int
) -> None:
    """Draw rows of `reach_curves` of one network and depth, shifted right and down by some points.

    A curve at 100 % continues to `end`. A run that has not reached the level is marked where its observation
    ends."""
    moved = axes.transData + ScaledTranslation(shift / 72, -shift / 72, axes.figure.dpi_scale_trans)
    look: palette.Look = {"color": colour, "transform": moved, "clip_on": False}
    percent = 100 * curve["reached"]
    steps, heights = list(curve["step"]), list(percent)
    if times["reached"].all():
        steps, heights = [*steps, end], [*heights, 100.0]
    name = f"{times['network'].iloc[0]}, depth {times['depth'].iloc[0]}"
    is_context = colour == palette.BACKGROUND
    width, order = (0.8, 1) if is_context else (palette.THIN, 2)
    (line,) = axes.plot(steps, heights, drawstyle="steps-post", linewidth=width, zorder=order, **look)
    tags.describe(line, tags.Series(f"{name}, {len(times)} runs", "step", "have reached it", "%"))
    for run in rows_of(times[~times["reached"]]):
        height = percent[curve["step"] <= run["step"]].iloc[-1]
        if run["status"] == "diverged":
            mark: palette.Look = {"marker": palette.STATUS_MARKERS["diverged"], "markersize": 6.5}
        else:
            mark = CENSORED
        (point,) = axes.plot(run["step"], height, **mark | look)
        says = "diverged" if run["status"] == "diverged" else "not reached so far"
        tags.describe(point, tags.Series(f"{name}, seed {run['seed']}", "step", "outcome", ys=[says]))


FIGURE = ReportFigure(
    draw,
    title="Steps to reach a train error",
    caption=(
        "Percentage of runs whose train error at an evaluation has been at or below the stated level by "
        "each step, as a Kaplan-Meier estimate over seeds. A curve rises at the first evaluation at the "
        "level, so the run reached it at some step since the evaluation before. Curves are slightly offset, "
        "so that none hides another. A curve further to the right means slower training. An arrow marks a "
        "run that had not reached the level at its last evaluation and may do so with more steps. A cross "
        "marks a run that diverged."
    ),
)
