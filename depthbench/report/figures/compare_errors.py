"""Last errors of studies against depth, a row of panels a network."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.analysis import FINISHED
from depthbench.analysis.comparison import ERRORS, studies_of
from depthbench.analysis.summary import summarise
from depthbench.report import style
from depthbench.report.figures.degradation import (
    ENDINGS,
    beside,
    depth_axis,
    draw_mean,
    draw_seeds,
    error_axis,
)
from depthbench.store.results import Results


def draw(joined: Results) -> Figure | None:
    """Last train and test error (percent) against depth: every seed, mean and 95% t interval, by study."""
    runs = joined.runs
    if not runs["status"].isin(FINISHED).any():
        return None
    studies, networks = studies_of(joined), style.networks_of(runs)
    summaries = {study: summarise(runs[runs["study"] == study]) for study in studies}
    everywhere = pd.concat(summaries.values())
    looks = style.study_looks(studies)
    heading = "Last error against depth (each seed, mean and 95% t interval)"
    figure, panels = style.grid(len(networks), len(ERRORS), 2.1, heading, sharey="row")
    for row, network in zip(panels, networks, strict=True):
        for axes, (column, error) in zip(row, ERRORS.items(), strict=True):
            depth_axis(axes, sorted(runs["depth"].unique()))
            for place, (study, look) in enumerate(looks.items()):
                shift = beside(place, len(studies))
                summary, own = (
                    frame[frame["network"] == network]
                    for frame in (summaries[study], runs[runs["study"] == study])
                )
                draw_mean(axes, summary, column, look, shift)
                draw_seeds(axes, own, column, look, shift)
            style.name_panel(axes, f"{network}: {error}")
        row[0].set_ylabel("error (%)")
        error_axis(row[0], everywhere[everywhere["network"] == network])
    for axes in panels[-1]:
        axes.set_xlabel("depth (weighted layers)")
    handles = [Line2D([], [], label=study, **look) for study, look in looks.items()]
    style.legend_below(figure, handles + style.ending_handles(runs, ENDINGS), 3)
    return figure
