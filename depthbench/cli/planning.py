"""Plan a study for a command, showing the progress."""

from typing import TYPE_CHECKING

from rich.console import Console

from depthbench.cli.terminal import interruptible
from depthbench.console import counting, say

if TYPE_CHECKING:
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


def announced_plan(console: Console, study: "Study", execution: "Execution") -> "Plan":
    """Return the plan of `study`, after printing what will happen."""
    from depthbench.cli.outcome import announcement

    plan = plan_study(console, study, execution, executes=True)
    for line in announcement(plan):
        say(console, line)
    return plan
