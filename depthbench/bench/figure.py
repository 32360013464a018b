"""The figure of a benchmark: speed relative to the conventional loop, and fraction of the ceiling."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from depthbench.bench.ratios import FRACTION, SPEED
from depthbench.report.style import layout, legends

CONVENTIONAL = ("#b3b3b3", "#6e6e6e")  # one job, several
OURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")  # Okabe and Ito 2008
BARS_WIDTH = 0.84  # fraction of the width of a case that its bars fill


def draw(rows: pd.DataFrame, ratios: pd.DataFrame, title: str) -> Figure:
    """Draw two panels of bars, grouped by case and coloured by arm: medians, with the spread as whiskers."""
    figure, panels = layout.grid(2, 1, 2.3, title, sharey=False)
    colours = _colours(ratios)
    cases = list(ratios["case"].unique())
    speeds, fractions = (ratios[ratios["of"] == of] for of in (SPEED, FRACTION))
    ones = {"arm": speeds["over"].iloc[0] if len(speeds) else "", "median": 1.0, "low": 1.0, "high": 1.0}
    speeds = pd.concat([pd.DataFrame([{"case": case} | ones for case in cases]), speeds])
    _bars(panels[0, 0], speeds, cases, colours, times=1, decimals=2)
    _bars(panels[1, 0], fractions, cases, colours, times=100, decimals=1)
    panels[0, 0].set_ylabel("images per second, relative to the\nconventional loop in one job")
    panels[0, 0].set_title("Speed (median and spread of alternating repeats; higher is faster)", loc="left")
    panels[1, 0].set_ylabel("floor time / measured time (%)")
    panels[1, 0].set_title(
        "Fraction of the ceiling: a large matrix product and a large copy with the same jobs and threads",
        loc="left",
    )
    panels[1, 0].set_xticks(range(len(cases)), [_case_label(rows, case) for case in cases])
    panels[1, 0].set_xlim(-0.5, len(cases) - 0.5)
    handles = [Patch(color=colour, label=arm) for arm, colour in colours.items()]
    legends.legend_below(figure, handles, 4 if max(map(len, colours)) < 22 else 3)
    return figure


def _colours(ratios: pd.DataFrame) -> dict[str, str]:
    """Return the colour of each arm: grey for the conventional loop."""
    arms = list(ratios.loc[ratios["of"] == FRACTION, "arm"].unique())
    conventional = [arm for arm in arms if arm.startswith("conventional")]
    ours = [arm for arm in arms if arm not in conventional]
    greys = dict(zip(conventional, CONVENTIONAL, strict=False))
    return greys | {arm: OURS[i % len(OURS)] for i, arm in enumerate(ours)}


def _bars(
    axes: Axes, frame: pd.DataFrame, cases: list[str], colours: dict[str, str], *, times: float, decimals: int
) -> None:
    width = BARS_WIDTH / len(colours)
    for i, (arm, colour) in enumerate(colours.items()):
        of_arm = frame[frame["arm"] == arm].set_index("case").reindex(cases)
        median, low, high = (times * of_arm[key].to_numpy() for key in ("median", "low", "high"))
        at = np.arange(len(cases)) + (i - (len(colours) - 1) / 2) * width
        axes.bar(at, median, 0.9 * width, color=colour)
        axes.errorbar(at, median, [median - low, high - median], fmt="none", ecolor="#222222", elinewidth=0.7)
        for x, y, value in zip(at, high, median, strict=True):
            if np.isfinite(value):
                text = f"{value:.{decimals if value < 10 else 1}f}"
                axes.annotate(text, (x, y), (0, 1.5), textcoords="offset points", ha="center", fontsize=6)
    axes.set_ylim(0, 1.12 * times * frame["high"].max())
    axes.grid(visible=False, axis="x")
    axes.tick_params(axis="x", length=0)


def _case_label(rows: pd.DataFrame, case: str) -> str:
    """Return the label of a case, which says what a relative speed of 1 is."""
    alone = rows[(rows["case"] == case) & (rows["what"] == "conventional") & (rows["jobs"] == 1)]
    return f"{case}\n(1 is {alone['per_second'].median():,.0f} images/s)"
