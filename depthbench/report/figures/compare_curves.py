"""Training curves of studies over each other, a panel a network and depth."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.analysis.comparison import studies_of
from depthbench.analysis.curves import mean_curves
from depthbench.report import style
from depthbench.report.figures import curves
from depthbench.store.results import Results


def draw(joined: Results) -> Figure | None:
    """Test error (bold) and on-the-fly train error (thin dashed) against updates made, a panel a network and
    depth."""
    runs, history, _ = joined
    if history.empty or not history["test_error"].notna().any():
        return None
    studies = studies_of(joined)
    looks = style.study_looks(studies)
    networks, depths = style.networks_of(runs), sorted(runs["depth"].unique())
    found = [
        mean_curves(runs[runs["study"] == study], history, column).assign(study=study, column=column)
        for study in studies
        for column in curves.LINES
    ]
    lines = pd.concat(found, ignore_index=True)
    if lines.empty:
        return None
    heading = f"Error during training (mean of {style.seeds(lines['n'].unique())}, test error with its range)"
    figure, panels = style.grid(len(networks), len(depths), 1.7, heading)
    endings = curves.endings_of(runs)
    for axes, network, depth in style.cells(panels, networks, depths):
        part = lines[(lines["network"] == network) & (lines["depth"] == depth)]
        for (study, column), line in part.groupby(["study", "column"], sort=False):
            curves.draw_curve(axes, line, column, looks[study]["color"], _line(column, looks[study]))
        here = endings[(endings["network"] == network) & (endings["depth"] == depth)]
        for run in here.itertuples():
            rows = history[history["run_id"] == run.run_id]
            curves.draw_ending(axes, run, rows, looks[run.study]["color"])
    panels[0, 0].set_ylim(0, curves.top(history, runs, dict(tuple(lines.groupby("column")))))
    style.step_axis(panels[0, 0], history["step"].max())
    for row in panels:
        style.label_left(row, "error (%)")
    for axes in panels[-1]:
        axes.set_xlabel("step (updates made)")
    handles = [
        Line2D([], [], color=look["color"], linewidth=look["linewidth"], label=study)
        for study, look in looks.items()
    ]
    handles += [Line2D([], [], color="#444444", label=name, **look) for name, look in curves.LINES.values()]
    style.legend_below(figure, handles + style.ending_handles(endings, curves.ENDINGS), 4)
    return figure


def _line(column: str, look: dict) -> dict:
    """The line of `column` of the study that looks so."""
    line = curves.LINES[column][1]
    return line | {"linewidth": line["linewidth"] * look["linewidth"] / style.THIN}
