"""The command `depthbench report`."""

from pathlib import Path
from typing import Annotated

import typer

from depthbench.cli import completion
from depthbench.cli.options import option, tensorboard_option
from depthbench.cli.terminal import draw_report, err


def report(
    results: Annotated[
        list[Path],
        typer.Argument(help="Results directories of studies, e.g. results/quick.", show_default=False),
    ],
    style: Annotated[
        str,
        option(
            "page: for the screen. paper: PDFs as well. slides: PDFs and larger 16:9 figures, in "
            "report-slides/. Default: page.",
            autocompletion=completion.report_styles,
        ),
    ] = "page",
    tensorboard: Annotated[bool, tensorboard_option()] = False,
) -> None:
    """Write the reports of stored results.

    A report is report/index.html, the figures (SVG and PNG) and the tables
    (CSV, Markdown and LaTeX).
    """
    from depthbench.store.study_store import StudyStore
    from depthbench.tensorboard import check_installed, write_study

    if tensorboard:
        check_installed()
    for path in results:
        StudyStore(path).table()  # raises BadInput before any report is drawn
    for path in results:
        if tensorboard:
            print(write_study(path))
        print(draw_report(err, path, style))
