"""Final errors of studies against depth, one row of panels per network."""

import pandas as pd
from matplotlib.figure import Figure

from depthbench.analysis import FINISHED
from depthbench.analysis.summary import ERRORS
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Comparison
from depthbench.report.figures.degradation import (
    ENDINGS,
    depth_axis,
    draw_mean,
    draw_seeds,
    error_axis,
    statistics,
)
from depthbench.report.style import layout, legends, palette


def draw(compared: Comparison) -> Figure | None:
    """Draw the final train and test error (percent) of each study: every seed and the mean."""
    runs = compared.joined.runs
    if not runs["status"].isin(FINISHED).any():
        return None
    summaries, networks = compared.summaries, layout.networks_of(runs)
    all_studies = pd.concat(summaries.values())
    looks = palette.study_looks(compared.labels)
    heading = f"Final error against depth ({statistics(all_studies.loc[all_studies['n'] > 0, 'n'])})"
    figure, panels = layout.grid(len(networks), len(ERRORS), 2.1, heading, sharey="row")
    for row, network in zip(panels, networks, strict=True):
        for axes, (column, error) in zip(row, ERRORS.items(), strict=True):
            depth_axis(axes, sorted(runs["depth"].unique()))
            for study, look in looks.items():
                summary, own = (
                    frame[frame["network"] == network]
                    for frame in (summaries[study], runs[runs["study"] == study])
                )
                draw_mean(axes, summary, column, look=look, network=study)
                name = f"{study}: {network}"
                draw_seeds(axes, own, column, look=look, network=study, name=name)
            layout.set_panel_title(axes, f"{network}: {error}")
        row[0].set_ylabel("error (%)")
        error_axis(row[0], all_studies[all_studies["network"] == network])
    for axes in panels[-1]:
        axes.set_xlabel("depth (weighted layers)")
    handles = legends.network_handles(looks)
    legends.legend_below(figure, handles + legends.status_handles(runs, ENDINGS), 3)
    return figure


FIGURE = ReportFigure(
    draw,
    title="Errors against depth",
    caption=(
        "Final error of each run against depth, one colour per study. Each point is one seed, and the line "
        "connects the means. From 5 seeds on, a bar is the 95 % interval of the mean."
    ),
    needs="a finished run",
)
