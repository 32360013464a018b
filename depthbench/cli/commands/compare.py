"""The command `depthbench compare`."""

from typing import Annotated

import typer

from depthbench.cli.options import option
from depthbench.cli.terminal import err, interruptible, page_line
from depthbench.console import saying


def compare(
    results: Annotated[
        list[str],
        typer.Argument(
            help="Two or more results directories or their URLs. The others are compared with the first.",
            show_default=False,
        ),
    ],
    out_dir: Annotated[
        str | None,
        option(
            "Where to write the report. Default: comparisons/A-vs-B next to the first results directory.",
            "--out",
        ),
    ] = None,
) -> None:
    """Compare the settings and errors of several results in one report.

    Results can differ in their block, initialisation, version or device. The
    report overlays their curves, lists differences by seed with intervals,
    and warns about runs that are not comparable. Networks of the same name
    are compared. If each of two studies has exactly one network that the
    other lacks, these two are compared as well.

    Examples:

      depthbench compare results/reference/quick results/reference/quick-bf16

      depthbench compare results/he results/xavier --out figures/init
    """
    from depthbench.report.comparison import write_comparison

    with (
        interruptible("interrupted: the comparison is incomplete, so rerun this command"),
        saying(err, "drawing the comparison"),
    ):
        page = write_comparison(results, out_dir)
    print(page_line(page))
