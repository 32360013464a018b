"""The command `depthbench report`."""

from pathlib import Path
from typing import Annotated

import typer

from depthbench.cli import completion
from depthbench.cli.options import option, tensorboard_option
from depthbench.cli.terminal import draw_report, err, interruptible, page_line
from depthbench.console import saying


def report(
    results: Annotated[
        list[str],
        typer.Argument(
            help="Results directories of studies, e.g. results/quick, folders of them, e.g. results, or "
            "their URLs.",
            show_default=False,
        ),
    ],
    style: Annotated[
        str,
        option(
            "page: for the screen. paper: PDFs as well. slides: PDFs and larger 16:9 figures, in "
            "report-slides/. Default: page.",
            autocompletion=completion.report_styles,
        ),
    ] = "page",
    plugin: Annotated[
        list[Path] | None, option("A Python file with FIGURES or TABLES of your own.", metavar="FILE")
    ] = None,
    tensorboard: Annotated[bool, tensorboard_option()] = False,
) -> None:
    """Write the reports of stored results.

    A report is report/index.html, the figures (SVG and PNG) and the tables
    (CSV, Markdown and LaTeX).

    For a folder of studies, the command writes an index of their reports,
    FOLDER/index.html, and redraws none of them. With --tensorboard it
    writes the event files of each study.

    Examples:

      depthbench report results/quick --style slides

      depthbench report results/quick --plugin my_figure.py

      depthbench report results
    """
    from depthbench.paths import expand
    from depthbench.plugins.loading import load_plugins
    from depthbench.report.index import study_folders, write_index
    from depthbench.store.mirror import shown
    from depthbench.store.remote import fetch_all
    from depthbench.store.study_store import StudyStore
    from depthbench.tensorboard import check_installed, write_study

    load_plugins(expand(file) for file in plugin or [])
    if tensorboard:
        check_installed()
    paths = [fetch_all(path) for path in results]
    folders = {path for path in paths if study_folders(path)}
    for path in paths:
        if path not in folders:
            StudyStore(path).table()  # raises BadInput before any report is drawn
    if tensorboard:
        for study in (study for path in paths for study in study_folders(path) or [path]):
            print(write_study(study))
    for path in sorted(paths, key=folders.__contains__):  # an index shows the reports drawn before it
        if path in folders:
            with (
                interruptible(f"interrupted: {shown(path)}/index.html is not written"),
                saying(err, f"writing the index of {shown(path)}"),
            ):
                page = write_index(path)
            print(page_line(page))
            continue
        print(page_line(draw_report(err, path, style)))
