"""Training curves, a panel a network, a colour a depth (He et al. 2015, Figures 1, 4 and 6)."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.analysis import FINISHED
from depthbench.analysis.curves import mean_curves
from depthbench.report import style
from depthbench.store.results import Results

LINES = {  # column -> name, look
    "test_error": ("test error", {"linewidth": 1.8}),
    "train_error": ("train error, on the fly", {"linewidth": 0.8, "dashes": (4, 2)}),
}
ENDINGS = {"diverged": "diverged, then at chance"}
SETTLED = 0.2  # the part of training that may leave the scale at its top


def draw(results: Results) -> Figure | None:
    """Test error (bold) and on-the-fly train error (thin dashed), in percent, against updates made."""
    runs, history, _ = results
    if history.empty or not history["test_error"].notna().any():
        return None
    curves = {column: mean_curves(runs, history, column) for column in LINES}
    networks, colours = style.networks_of(runs), style.depth_colours(runs["depth"])
    known = pd.concat(curves.values())["n"].unique()
    of = f"mean of {style.seeds(known)}, test error with its range" if len(known) else "no run has finished"
    figure, panels = style.grid(1, len(networks), 2.6, f"Error during training ({of})")
    endings = endings_of(runs)
    for axes, network in zip(panels[0], networks, strict=True):
        for column, (_, look) in LINES.items():
            for depth, curve in curves[column].query("network == @network").groupby("depth"):
                with style.of_depth(axes, depth):
                    draw_curve(axes, curve, column, colours[depth], look)
        for run in endings[endings["network"] == network].itertuples():
            with style.of_depth(axes, run.depth):
                draw_ending(axes, run, history[history["run_id"] == run.run_id], colours[run.depth])
        style.name_panel(axes, network)
        axes.set_xlabel("step (updates made)")
    style.label_left(panels[0], "error (%)")
    panels[0, 0].set_ylim(0, top(history, runs, curves))
    style.step_axis(panels[0, 0], history["step"].max())

    handles = style.depth_handles(colours)
    handles += [Line2D([], [], color="#444444", label=name, **look) for name, look in LINES.values()]
    style.legend_below(figure, handles + style.ending_handles(endings, ENDINGS), 5)
    return figure


def draw_curve(axes, curve: pd.DataFrame, column: str, colour: str, look: dict) -> None:
    """Rows of `mean_curves` of one network and depth; of the test error with the range."""
    alone = {"marker": "o", "markersize": 4, "clip_on": False} if len(curve) == 1 else {}  # it has no line
    axes.plot(curve["step"], curve["mean"], color=colour, **look, **alone)
    if column == "test_error":
        band = {"color": colour, "alpha": 0.15, "linewidth": 0}
        axes.fill_between(curve["step"], curve["low"], curve["high"], **band)


def endings_of(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that stopped early."""
    return runs[runs["status"] != "done"]


def draw_ending(axes, run, rows: pd.DataFrame, colour: str) -> None:
    """Where a run stopped early. One without final errors is in no mean, so its own line is drawn; one that
    was never evaluated is marked at the top edge."""
    edge = {"markeredgecolor": "white", "markeredgewidth": 0.5, "clip_on": False, "zorder": 3}
    tests = rows.dropna(subset=["test_error"])
    last = rows["step"].max() if len(rows) else 0
    if run.status in FINISHED:
        end = (last, run.test_error)
    elif len(tests):
        axes.plot(tests["step"], tests["test_error"], color=colour, linewidth=0.8)
        end = tests[["step", "test_error"]].iloc[-1]
    else:
        end, edge["transform"] = (last, 0.98), axes.get_xaxis_transform()
    axes.plot(*end, color=colour, marker=style.MARKS[run.status], markersize=6.5, **edge)


def top(history: pd.DataFrame, runs: pd.DataFrame, curves: dict[str, pd.DataFrame]) -> float:
    """The top of the scale, percent: the highest error after the first fifth of training."""
    start = SETTLED * history["step"].max()
    shown = [curve.loc[curve["step"] >= start, "high"] for curve in curves.values()]
    shown.append(history.loc[history["step"] >= start, "test_error"])
    shown.append(runs.loc[runs["status"] == "diverged", "test_error"])
    highest = pd.to_numeric(pd.concat(shown), errors="coerce").max()
    if not highest > 0:  # nothing there, or no errors at all
        highest = history[list(LINES)].max().max()
    return float(np.clip(1.06 * highest, 1, 102))
