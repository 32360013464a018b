"""The command `depthbench run`."""

from typing import Annotated

from depthbench.cli.options import (
    ExecutionOptions,
    GridOptions,
    OutputOptions,
    StudyOptions,
    expand_options,
    option,
    tensorboard_option,
)
from depthbench.cli.planning import announced_plan
from depthbench.cli.tables import print_runs
from depthbench.cli.terminal import RESUME, interruptible, make_console
from depthbench.console import say


@expand_options
def run(
    *,
    grid: GridOptions,
    changes: StudyOptions,
    how: ExecutionOptions,
    output: OutputOptions,
    fresh: Annotated[
        bool, option("Discard the study's stored results.", "--fresh", rich_help_panel="Execution")
    ] = False,
    dry_run: Annotated[
        bool,
        option("Check everything, list the runs, and stop.", "--dry-run", rich_help_panel="Execution"),
    ] = False,
    tensorboard: Annotated[bool, tensorboard_option("Output")] = False,
) -> None:
    """Train the unfinished runs of a study, and write the report.

    After Ctrl-C, rerun the same command to resume. With more depths,
    networks or seeds, only the additional runs are trained.

    Examples:

      depthbench run --depths 20,56,110

      depthbench run --data ~/cifar10-jpeg --depths 20,56 --steps 200

      depthbench run my_study.toml --set lr=0.05 --name my_study-lr0.05
    """
    from depthbench.cli.display import choose_display
    from depthbench.cli.outcome import finish, planned_rows, recipe_line
    from depthbench.execution.run import execute
    from depthbench.tensorboard import FOLDER, TensorBoardDisplay, check_installed, write_run
    from depthbench.text import shell

    if tensorboard:
        check_installed()
    console = make_console(quiet=output.quiet, stderr=output.as_json)
    study = changes.load(grid.study, networks=grid.networks, depths=grid.depths, sweep=grid.sweep)
    plan = announced_plan(console, study, how.settings(fresh=fresh))
    if dry_run:
        say(console, recipe_line(plan.study))
        print_runs(planned_rows(plan), f"{plan.study.name}: planned runs", output.as_json)
        return
    display = choose_display(console, output.quiet)
    with interruptible(RESUME):
        ended = execute(plan, TensorBoardDisplay(display, plan.store) if tensorboard else display)
    if tensorboard:
        for stored in plan.finished:  # the display has written those of the other runs
            write_run(plan.store.run(stored.run_id))
        say(console, f"event files: {shell('tensorboard', '--logdir', plan.store.path / FOLDER)}")
    finish(plan, console, ended, as_json=output.as_json, draws=not output.no_report)
