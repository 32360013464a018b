"""The command `depthbench show`."""

from typing import Annotated

from depthbench.cli.options import Results, option
from depthbench.cli.tables import failure_lines, first_names, print_runs
from depthbench.cli.terminal import out
from depthbench.console import say


def show(
    results: Results,
    as_json: Annotated[bool, option("Print the runs as JSON.", "--json")] = False,
) -> None:
    """Show the runs of a results directory: status, errors and time.

    Lines below the table say why runs failed, name the inconclusive
    verdicts, and say how many seeds would decide each of them.
    """
    from depthbench.report.undecided import undecided
    from depthbench.store.remote import fetch
    from depthbench.store.results import missing_tables, read_runs, running
    from depthbench.store.study_store import StudyStore
    from depthbench.study.grid import requested_runs

    path = fetch(results)
    store, rows = StudyStore(path), read_runs(path)
    now = running(store, rows)
    print_runs(now, results, as_json)
    if as_json:
        return
    for line in (*failure_lines(now), *undecided(path, rows).lines):
        say(out, line)
    if lost := missing_tables(path, rows):
        say(out, f"missing tables: {first_names(lost)}; rerun the study to train these runs again")
    missing = len(requested_runs(store.table())) - len(store.run_names())
    if missing > 0:
        runs = "1 more run of the study has" if missing == 1 else f"{missing} more runs of the study have"
        say(out, f"{runs} not started")
