"""How many runs share a GPU: they take turns in one process, step by step, each with its captured step on a
stream of its own, so that the kernels of one fill what those of another leave idle. How many are best is
measured, on the runs themselves."""

import dataclasses
from collections.abc import Mapping

from depthbench.events import Display, Note
from depthbench.execution.plan import Plan
from depthbench.execution.process import Process
from depthbench.machine.environment import cores_each

WORTH_MEASURING = 5000  # steps of all runs: of fewer, the measuring would take as long as it saves
GAIN = 1.05  # more lanes must be faster by this: each makes a run end later and takes its memory


def settled(plan: Plan, display: Display) -> Plan:
    """`plan` with as many lanes as train the most images a second, up to `plan.lanes`; `plan` itself where
    that need not or cannot be measured. `display` shows what was measured."""
    steps = sum(run.steps for run in plan.todo)
    if not plan.measures_lanes or plan.lanes < 2 or steps < WORTH_MEASURING:
        return plan
    display.show(Note(f"measuring how many runs {plan.device} trains best at once"))
    middle = plan.todo[len(plan.todo) // 2]  # they are in the order of their cost
    counts = [n for n in (1, 2, 4, 8, 16) if n <= plan.lanes]
    process = Process("depthbench.execution.turns", plan.threads)
    try:
        recompute = middle.run_id in plan.recompute
        process.send((middle, plan.images, plan.device, plan.execution.step_mode, recompute, counts))
        rates = process.receive()
    except (EOFError, OSError):
        display.show(Note(f"not measured: {process.cause_of_death()}; {plan.lanes} runs take turns"))
        return plan
    finally:
        process.kill()
    lanes = fastest(rates)
    told = ", ".join(f"{rate:.0f} by {n}" for n, rate in rates.items())
    display.show(
        Note(f"runs take turns on {plan.device}, {lanes} at once: {told} images/s ({middle.run_id})")
    )
    return dataclasses.replace(plan, jobs=lanes, lanes=lanes, threads=cores_each(lanes))


def fastest(rates: Mapping[int, float]) -> int:
    """The number of lanes, each with its images/s, that more would not beat by GAIN."""
    best = min(rates)
    for lanes, rate in sorted(rates.items()):
        if rate > GAIN * rates[best]:
            best = lanes
    return best
