"""Training curves of all studies, one panel per network and depth."""

import pandas as pd
from matplotlib.figure import Figure

from depthbench.analysis.curves import mean_curves
from depthbench.analysis.rows import rows_of
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Comparison
from depthbench.report.figures import curves
from depthbench.report.style import layout, legends, palette, tags, ticks
from depthbench.report.style.canvas import MOST_COLUMNS


def draw(compared: Comparison) -> Figure | None:
    """Draw test error (bold) and train error during training (thin dashed) against updates."""
    runs, history, _ = compared.joined
    if history.empty or not history["test_error"].notna().any():
        return None
    looks = palette.study_looks(compared.labels)
    cells = [
        (network, depth)
        for network in layout.networks_of(runs)
        for depth, _ in layout.by_depth(runs[runs["network"] == network])
    ]
    means = [
        mean_curves(runs[runs["study"] == study], history, column).assign(study=study, column=column)
        for study in looks
        for column in curves.LINES
    ]
    # a study without finished runs has no curves, and its empty table no types
    lines = pd.concat([each for each in means if len(each)] or means, ignore_index=True)
    if lines.empty:
        return None
    heading = f"Error during training ({curves.statistics(lines['n'])})"
    if len(looks) > palette.MOST_STUDIES:
        return _draw_each_study(compared, lines, heading)
    figure, panels = layout.flow(len(cells), 1.7, heading, layout.columns_of(cells))
    early = curves.ended_early(runs)
    for axes, (network, depth) in zip(panels.flat, cells, strict=False):
        layout.set_panel_title(axes, f"{network}, depth {depth}")
        tags.tag(axes, depth)
        part = lines[(lines["network"] == network) & (lines["depth"] == depth)]
        for study, look in looks.items():
            for column in curves.LINES:
                line = part[(part["study"] == study) & (part["column"] == column)]
                if len(line):
                    with tags.tagged(axes, depth, network=study):
                        name = f"{study}: {network}, depth {depth}"
                        curves.draw_curve(axes, line, column, look=_line(column, look), name=name)
        here = early[(early["network"] == network) & (early["depth"] == depth)]
        for run in rows_of(here):
            study = run["study"]
            rows = history[history["run_id"] == run["run_id"]]
            with tags.tagged(axes, depth, network=study):
                name = f"{study}: {network}"
                curves.draw_ending(axes, run, rows, colour=looks[study]["color"], network=name)
    by_column = {column: lines[lines["column"] == column] for column in curves.LINES}
    panels[0, 0].set_ylim(0, curves.top(history, runs, by_column))
    ticks.step_axis(panels[0, 0], history["step"].max())
    layout.label_outer(panels, cells, x="step (updates made)", y="error (%)")
    handles = legends.network_handles({study: look | {"marker": ""} for study, look in looks.items()})
    handles += curves.line_handles()
    legends.legend_below(figure, handles + legends.status_handles(early, curves.ENDINGS), 4)
    return figure


def _draw_each_study(compared: Comparison, lines: pd.DataFrame, heading: str) -> Figure:
    """Draw a panel for each study and network, with the first study in the background.

    `lines`: rows of `mean_curves` with their study and column."""
    runs, history, _ = compared.joined
    colours = palette.chosen_depth_colours(sorted(runs["depth"].unique()))
    named = palette.named_depths(colours)
    cells = list(runs[["study", "network"]].drop_duplicates().itertuples(index=False, name=None))
    columns = runs["network"].nunique()  # a row for each study
    figure, panels = layout.flow(len(cells), 1.7, heading, columns if 1 < columns <= MOST_COLUMNS else None)
    baseline, early = compared.labels[0], curves.ended_early(runs)
    for axes, (study, network) in zip(panels.flat, cells, strict=False):
        layout.set_panel_title(axes, f"{study}: {network}")
        part = lines[lines["network"] == network]
        first = part[(part["study"] == baseline) & (part["column"] == "test_error")]
        for depth, line in layout.by_depth(first if study != baseline else first.iloc[:0]):
            with tags.tagged(axes, depth, network=baseline):
                curves.draw_background(axes, line, f"{baseline}: {network}, depth {depth}")
        for (column, depth), line in part[part["study"] == study].groupby(["column", "depth"]):
            name = f"{study}: {network}, depth {depth}"
            with tags.tagged(axes, depth, network=study):
                if depth in named:
                    look = curves.LINES[column][1] | {"color": colours[depth]}
                    curves.draw_curve(axes, line, column, look=look, name=name)
                elif column == "test_error":
                    curves.draw_background(axes, line, name)
        for run in rows_of(early[(early["study"] == study) & (early["network"] == network)]):
            rows = history[history["run_id"] == run["run_id"]]
            with tags.tagged(axes, run["depth"], network=study):
                colour, name = colours[run["depth"]], f"{study}: {network}"
                curves.draw_ending(axes, run, rows, colour=colour, network=name)
    by_column = {column: lines[lines["column"] == column] for column in curves.LINES}
    panels[0, 0].set_ylim(0, curves.top(history, runs, by_column))
    ticks.step_axis(panels[0, 0], history["step"].max())
    layout.label_outer(panels, cells, x="step (updates made)", y="error (%)")
    handles = legends.depth_handles(named) + curves.line_handles()
    kinds = [f"{baseline}, test error", *["other depths"] * (len(named) < len(colours))]
    handles += legends.background_handles(kinds)
    legends.legend_below(figure, handles + legends.status_handles(early, curves.ENDINGS))
    return figure


def _line(column: str, look: palette.Look) -> palette.Look:
    """Return the look of the line of `column` for a study with `look`."""
    line = curves.LINES[column][1]
    return line | {"color": look["color"], "linewidth": line["linewidth"] * look["linewidth"] / palette.THIN}


FIGURE = ReportFigure(
    draw,
    title="Training curves",
    caption=(
        "Error against training steps. Bold: test error, as the mean and range over seeds. Thin dashed: "
        "train error measured during training. With more than six studies, each has panels of its "
        "own. Where lines coincide, the studies train alike. All panels share one scale. "
        "Values from the first fifth of training may lie outside it."
    ),
    needs="a run with a test error during training",
)
