"""Plan a study for a command, showing the progress."""

from typing import TYPE_CHECKING

from rich.console import Console

from depthbench.cli.long_table import LongTable
from depthbench.cli.terminal import interruptible
from depthbench.console import counting, say

if TYPE_CHECKING:
    from depthbench.execution.cost.estimate import PlanCost
    from depthbench.execution.plan import Plan
    from depthbench.execution.settings import Execution
    from depthbench.study.model import Study


def plan_study(console: Console, study: "Study", execution: "Execution", *, executes: bool) -> "Plan":
    """Return the plan of `study`, showing the progress of reading its images."""
    from depthbench.execution.plan import make_plan

    with (
        interruptible("interrupted before any run started" if executes else "interrupted"),
        counting(console, "preparing", "reading the images") as decoding,
    ):
        return make_plan(study, execution, executes=executes, decoding=decoding)


def announced_plan(
    console: Console, study: "Study", execution: "Execution", said: set[str] | None = None
) -> "Plan":
    """Return the plan of `study`, after printing what will happen.

    said: the lines that were printed for earlier plans. They are not repeated, and new ones are added."""
    from depthbench.cli.outcome import announcement
    from depthbench.cli.tables import plan_lines, plan_table

    plan = plan_study(console, study, execution, executes=True)
    said = set() if said is None else said
    for line in announcement(plan):
        if line not in said:
            say(console, line)
            said.add(line)
    if plan.depth_choice is not None and not console.quiet:
        # A study that is resumed need not wait for times, and other machines have other times.
        measures = not (plan.finished or plan.backend.is_elsewhere or plan.backend.is_together)
        with interruptible("interrupted before any run started"):
            cost = estimate_cost(console, plan, measures)
        console.print(LongTable(plan_table(cost)))
        for line in plan_lines(cost):
            if line not in plan.notes:
                say(console, line)
    return plan


def estimate_cost(console: Console, plan: "Plan", measures: bool) -> "PlanCost":
    """Return the cost of `plan`, showing the progress. With `measures`, it trains a few steps."""
    from depthbench.execution.cost.estimate import estimate

    with counting(console, "counting parameters and memory", "timing a few steps") as progress:
        return estimate(plan, measures, progress)
