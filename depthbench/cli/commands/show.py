"""The command `depthbench show`."""

from typing import Annotated

from depthbench.cli.options import Results, option
from depthbench.cli.tables import print_runs
from depthbench.cli.terminal import out
from depthbench.console import say


def show(
    results: Results,
    as_json: Annotated[bool, option("Print the runs as JSON.", "--json")] = False,
) -> None:
    """Show the runs of a results directory: status, errors and time.

    Lines below the table name the inconclusive verdicts, and say how many
    seeds would decide each of them.
    """
    from depthbench.report.undecided import undecided
    from depthbench.store.remote import fetch
    from depthbench.store.results import read_runs
    from depthbench.store.study_store import StudyStore
    from depthbench.study.grid import requested_runs

    path = fetch(results)
    rows = read_runs(path)
    print_runs(rows, results, as_json)
    if as_json:
        return
    for line in undecided(path, rows).lines:
        say(out, line)
    store = StudyStore(path)
    missing = len(requested_runs(store.table())) - len(store.run_names())
    if missing > 0:
        runs = "1 more run of the study has" if missing == 1 else f"{missing} more runs of the study have"
        say(out, f"{runs} not started")
