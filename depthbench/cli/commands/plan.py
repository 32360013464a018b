"""The command `depthbench plan`."""

from typing import Annotated

from depthbench.cli.long_table import LongTable
from depthbench.cli.options import ExecutionOptions, GridOptions, StudyOptions, expand_options, option
from depthbench.cli.planning import estimate_cost, plan_study
from depthbench.cli.tables import plan_lines, plan_table
from depthbench.cli.terminal import interruptible, make_console, out
from depthbench.console import say


@expand_options
def plan(
    *,
    grid: GridOptions,
    changes: StudyOptions,
    how: ExecutionOptions,
    calibrate: Annotated[
        bool,
        option(
            "Train a few steps to estimate the times. Default: yes.",
            "--calibrate/--no-calibrate",
            rich_help_panel="Output",
        ),
    ] = True,
    pilot: Annotated[
        str | None,
        option(
            "A results directory or its URL. Also print how many seeds would decide each of its inconclusive "
            "verdicts.",
            metavar="RESULTS",
            rich_help_panel="Output",
        ),
    ] = None,
    as_json: Annotated[bool, option("Print the cost as JSON.", "--json", rich_help_panel="Output")] = False,
) -> None:
    """Estimate the cost of a study: parameters, memory and time on this machine.

    The times come from training a few steps of some networks on random
    images, which takes up to a minute. Finished runs are excluded.

    Examples:

      depthbench plan --depths 20,56,110

      depthbench plan --networks resnet --depths 1202 --no-calibrate

      depthbench plan vanishing-gradients --pilot results/vanishing-gradients
    """
    from depthbench.report.undecided import pilot_lines

    console = make_console(stderr=as_json)
    seeds = pilot_lines(pilot) if pilot else []  # a wrong path fails before the work
    with interruptible("interrupted (--no-calibrate skips the timing)"):
        study = changes.load(grid.study, networks=grid.networks, depths=grid.depths, sweep=grid.sweep)
        planned = plan_study(console, study, how.settings(), executes=False)
        cost = estimate_cost(console, planned, calibrate)
    if as_json:
        print(cost.to_json())
    else:
        out.print(LongTable(plan_table(cost)))
        for line in plan_lines(cost):
            say(out, line)
    for line in seeds:
        say(console, line)
