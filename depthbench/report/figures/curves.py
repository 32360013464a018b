"""Training curves, one panel per network and one colour per depth (He et al. 2015, Figures 1, 4 and 6)."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.analysis import FINISHED
from depthbench.analysis.curves import mean_curves
from depthbench.analysis.rows import rows_of
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.style import canvas, layout, legends, palette, tags, text, ticks

LINES: dict[str, tuple[str, palette.Look]] = {  # column -> name, look
    "test_error": ("test error", {"linewidth": 1.8}),
    "train_error": ("train error, during training", {"linewidth": 0.8, "dashes": (4, 2)}),
}
VALUES = {"test_error": "test error", "train_error": "train error"}  # column -> what the page calls a value
ENDINGS = {"diverged": "diverged, then at chance"}
SETTLED = 0.2  # the first part of training, whose values may lie outside the scale


def draw(evidence: Evidence) -> Figure | None:
    """Draw test error (bold) and train error during training (thin dashed), in percent, against updates."""
    runs, history = evidence.runs, evidence.history
    if history.empty or not history["test_error"].notna().any():
        return None
    curves = {column: mean_curves(runs, history, column) for column in LINES}
    networks = layout.networks_of(runs)
    colours = palette.chosen_depth_colours(sorted(runs["depth"].unique()))
    named = palette.named_depths(colours)
    seeds = pd.concat(curves.values())["n"].unique()
    figure, panels = layout.flow(len(networks), 2.6, f"Error during training ({statistics(seeds)})")
    early = ended_early(runs)
    for axes, network in zip(panels.flat, networks, strict=False):
        for column, (_, look) in LINES.items():
            for depth, curve in layout.by_depth(curves[column].query("network == @network")):
                name = f"{network}, depth {depth}"
                with tags.tagged(axes, depth, network=network):
                    if depth in named:
                        draw_curve(axes, curve, column, look=look | {"color": colours[depth]}, name=name)
                    elif column == "test_error":
                        draw_background(axes, curve, name)
        for run in rows_of(early[early["network"] == network]):
            with tags.tagged(axes, run["depth"], network=network):
                own = history[history["run_id"] == run["run_id"]]
                draw_ending(axes, run, own, colour=colours[run["depth"]], network=network)
        layout.set_panel_title(axes, network)
    layout.label_outer(panels, networks, x="step (updates made)", y=text.error_label(evidence.predicts))
    panels[0, 0].set_ylim(0, top(history, runs, curves))
    ticks.step_axis(panels[0, 0], history["step"].max())

    handles = legends.depth_handles(named)
    handles += legends.background_handles(["other depths, test error"] if len(named) < len(colours) else [])
    handles += line_handles()
    legends.legend_below(figure, handles + legends.status_handles(early, ENDINGS))
    return figure


def line_handles() -> list[Line2D]:
    """Make the legend entries of LINES."""
    return [Line2D([], [], label=name, **look | {"color": palette.GREY}) for name, look in LINES.values()]


def statistics(seeds: Iterable[int]) -> str:
    """Say what is drawn of groups of this many finished seeds."""
    counts = set(seeds)
    if not counts:
        return "no run has finished"
    if counts == {1}:
        return "1 seed"
    return f"mean of {text.seed_count(counts)}, test error with its range"


def draw_curve(axes: Axes, curve: pd.DataFrame, column: str, *, look: palette.Look, name: str) -> None:
    """Draw rows of `mean_curves` of one network and depth, and the range of the test error."""
    if len(curve) == 1:  # a marker, as it has no line
        look = look | {"marker": "o", "markersize": 4, "clip_on": False}
    (line,) = axes.plot(curve["step"], curve["mean"], **look)
    tags.describe(line, described(curve, column, name))
    if column == "test_error":
        colour = look["color"]
        axes.fill_between(curve["step"], curve["low"], curve["high"], color=colour, alpha=0.15, linewidth=0)


def draw_background(axes: Axes, curve: pd.DataFrame, name: str) -> None:
    """Draw the mean test error of one network and depth as a line that gives context."""
    (line,) = axes.plot(curve["step"], curve["mean"], color=palette.BACKGROUND, linewidth=0.8, zorder=1)
    tags.describe(line, described(curve, "test_error", name))


def described(curve: pd.DataFrame, column: str, name: str) -> tags.Series:
    """Return what the rows of `mean_curves` of one network and depth show."""
    steps = curve["step"].tolist()
    return tags.Series(f"{name}, {text.mean_of(curve['n'].iloc[0])}", "step", VALUES[column], "%", xs=steps)


def ended_early(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that ended early."""
    return runs[runs["status"] != "done"]


def draw_ending(axes: Axes, run: Mapping[str, Any], rows: pd.DataFrame, *, colour: str, network: str) -> None:
    """Mark where a run ended early.

    A run without final errors is in no mean, so its own line is drawn. A run that was never evaluated is
    marked at the top edge."""
    edge: palette.Look = {
        "markeredgecolor": canvas.PAPER,
        "markeredgewidth": 0.5,
        "clip_on": False,
        "zorder": 3,
    }
    name = f"{network}, depth {run['depth']}, seed {run['seed']}"
    tests = rows.dropna(subset=["test_error"])
    last = rows["step"].max() if len(rows) else 0
    if run["status"] in FINISHED:
        end = (last, run["test_error"])
    elif len(tests):
        (line,) = axes.plot(tests["step"], tests["test_error"], color=colour, linewidth=0.8)
        tags.describe(line, tags.Series(name, "step", VALUES["test_error"], "%"))
        end = (tests["step"].iloc[-1], tests["test_error"].iloc[-1])
    else:
        end, edge["transform"] = (last, 0.98), axes.get_xaxis_transform()
    marker = palette.STATUS_MARKERS[run["status"]]
    (mark,) = axes.plot(*end, color=colour, marker=marker, markersize=6.5, **edge)
    tags.describe(mark, tags.Series(name, "step", "status", ys=[run["status"]]))


def top(history: pd.DataFrame, runs: pd.DataFrame, curves: dict[str, pd.DataFrame]) -> float:
    """Return the top of the scale (percent): the highest error after the first fifth of training."""
    start = SETTLED * history["step"].max()
    shown = [curve.loc[curve["step"] >= start, "high"] for curve in curves.values()]
    shown.append(history.loc[history["step"] >= start, "test_error"])
    shown.append(runs.loc[runs["status"] == "diverged", "test_error"])
    highest = pd.to_numeric(pd.concat(shown), errors="coerce").max()
    if not highest > 0:  # no errors there
        highest = history[list(LINES)].max().max()
    return float(np.clip(1.06 * highest, 1, 102))


FIGURE = ReportFigure(
    draw,
    title="Training curves",
    caption=(
        "Error against training steps. Bold: test error, as the mean and range over seeds. Thin dashed: "
        "train error measured during training (in training mode, with augmentation if there is any), as in "
        "Figures 1 and 6 of He et al. 2015. If both lines of a deeper network stay above those of a "
        "shallower one, it trains worse. All panels share one scale. Values from the first fifth of training "
        "may lie outside it."
    ),
    needs="a run with a test error during training",
)
