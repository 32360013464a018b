"""The command `depthbench merge`."""

from collections import Counter
from typing import Annotated

import typer

from depthbench.cli.options import option
from depthbench.cli.terminal import err, interruptible, no_report, out
from depthbench.console import say, saying


def merge(
    results: Annotated[
        list[str],
        typer.Argument(help="Results directories with the same settings, or their URLs.", show_default=False),
    ],
    into: Annotated[
        str, option("The directory or URL to copy the runs into. It may exist.", "--into", metavar="DIR")
    ],
) -> None:
    """Join results directories, e.g. of machines without a shared disk.

    The directories must have the same data and recipe; their depths, seeds
    and networks may differ. A finished copy of a run is preferred to
    an unfinished one. If the settings or the images differ, nothing is
    written. Afterwards, use `show`, `report` and `run` with DIR.

    Examples:

      depthbench merge laptop/quick server/quick --into results/quick
    """
    from depthbench.store.merge import merge_results
    from depthbench.store.mirror import shown
    from depthbench.store.study_store import StudyStore

    with interruptible("interrupted: rerun this command to copy the other runs"), saying(err, "merging"):
        path = merge_results(results, into)
    counts = Counter(record.status for record in StudyStore(path).records())
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "no runs"
    say(out, f"results: {shown(path)} ({statuses})")
    say(out, f"report: {no_report(path)}")
