"""Final errors of studies against depth, one row of panels per network."""

import pandas as pd
from matplotlib.figure import Figure

from depthbench.analysis.summary import ERRORS
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Comparison
from depthbench.report.figures.degradation import (
    CONTEXT,
    ENDINGS,
    MOST_LINES,
    PANELS,
    depth_axis,
    draw_mean,
    draw_seeds,
    error_axis,
    has_errors,
    statistics,
)
from depthbench.report.style import layout, legends, palette, text


def draw(compared: Comparison) -> Figure | None:
    """Draw the final train and test error (percent) of each study: every seed and the mean."""
    runs = compared.joined.runs
    if not has_errors(runs):
        return None
    summaries, networks = compared.summaries, layout.networks_of(runs)
    all_studies = pd.concat(summaries.values())
    looks = palette.study_looks(compared.labels)
    said = statistics(all_studies.loc[all_studies["n"] > 0, "n"])
    if len(looks) > palette.MOST_STUDIES:
        return _draw_each_study(compared, said)
    heading = f"Final error against depth ({said})"
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
        axes.set_xlabel(text.depth_label(runs["family"]))
    handles = legends.network_handles(looks)
    legends.legend_below(figure, handles + legends.status_handles(runs, ENDINGS), 3)
    return figure


def _draw_each_study(compared: Comparison, said: str) -> Figure:
    """Draw the train error in a panel for each study, or each of its networks if these are many.

    The first study is in the background. `said`: what is drawn of the seeds."""
    runs, summaries = compared.joined.runs, compared.summaries
    networks, (baseline, *_) = layout.networks_of(runs), compared.labels
    looks, (column, title) = palette.network_looks(networks), next(iter(PANELS.items()))
    groups = [networks] if len(networks) <= MOST_LINES else [[network] for network in networks]
    cells = [(study, group) for study in compared.labels for group in groups]
    figure, panels = layout.flow(len(cells), 1.6, f"Final {title}, against depth ({said})")
    for axes, (study, group) in zip(panels.flat, cells, strict=False):
        depth_axis(axes, sorted(runs["depth"].unique()))
        for network in group:
            first, own = (
                frame[frame["network"] == network]
                for frame in (summaries[baseline], runs[runs["study"] == study])
            )
            if study != baseline:
                axes.plot(first["depth"], first[f"{column}_mean"], **CONTEXT)
            summary = summaries[study]
            summary = summary[summary["network"] == network]
            draw_mean(axes, summary, column, look=looks[network], network=network)
            draw_seeds(axes, own, column, look=looks[network], network=network, name=f"{study}: {network}")
        layout.set_panel_title(axes, study if len(groups) == 1 else f"{study}: {group[0]}")
    layout.label_outer(panels, cells, x="depth", y="error (%)")
    error_axis(panels[0, 0], pd.concat(summaries.values()))
    handles = legends.network_handles(looks) if len(groups) == 1 else []
    handles += legends.background_handles([baseline])
    note = "The table of differences shows the test error"
    legends.legend_below(figure, handles + legends.status_handles(runs, ENDINGS), note=note)
    return figure


FIGURE = ReportFigure(
    draw,
    title="Errors against depth",
    caption=(
        "Error of each run at its last evaluation against depth, one colour per study. With more than six "
        "studies, each has a panel with the train error. Each point is one seed, and the line connects the "
        "means. From 5 seeds on, a bar is the 95 % interval of the mean. Where lines coincide, the studies "
        "have the same errors."
    ),
    needs="a finished run with a train or test error",
)
