"""How many runs share a GPU: they take turns in one process, step by step, each with its captured step on a
stream of its own, so that the kernels of one fill what those of another leave idle. How many are best is
measured, on the runs themselves."""

import dataclasses
from collections.abc import Mapping

from depthbench.catalog import look_up
from depthbench.execution.plan import Plan
from depthbench.execution.process import Process
from depthbench.networks import NETWORKS
from depthbench.study import Study

WORTH_MEASURING = 5000  # steps of all runs: of fewer, the measuring would take as long as it saves
GAIN = 1.05  # more lanes must be faster by this: each makes a run end later and takes its memory


def can_take_turns(study: Study) -> bool:
    """Whether runs of `study` in one process are each as if alone. Those that draw random numbers as they
    train, by dropout or in a plug-in's own way, would share a generator."""
    names = {network for grid in (study.grid, *study.also) for network in grid.network}
    ours = all(_is_ours(look_up(NETWORKS, "network", name).target) for name in names)
    return ours and study.options.dropout == 0


def settled(plan: Plan) -> Plan:
    """`plan` with as many lanes as train the most images a second, up to `plan.lanes`; `plan` itself where
    that need not or cannot be measured."""
    steps = sum(run.steps for run in plan.todo)
    if not plan.measures_lanes or plan.lanes < 2 or steps < WORTH_MEASURING:
        return plan
    middle = plan.todo[len(plan.todo) // 2]  # they are in the order of their cost
    counts = [n for n in (1, 2, 4, 8, 16) if n <= plan.lanes]
    process = Process("depthbench.execution.turns", plan.threads)
    try:
        process.tell((middle, plan.images, plan.device, plan.step, counts))
        rates = process.hear()
    except (EOFError, OSError):
        return dataclasses.replace(
            plan, notes=(*plan.notes, f"lanes not measured: {process.cause_of_death()}")
        )
    finally:
        process.kill()
    lanes = fastest(rates)
    told = ", ".join(f"{n}: {rate:.0f}" for n, rate in rates.items())
    note = f"{lanes} runs take turns on {plan.device} (images/s of {middle.run_id} by runs at once: {told})"
    return dataclasses.replace(plan, jobs=lanes, lanes=lanes, notes=(*plan.notes, note))


def fastest(rates: Mapping[int, float]) -> int:
    """The number of lanes, each with its images/s, that more would not beat by GAIN."""
    best = min(rates)
    for lanes, rate in sorted(rates.items()):
        if rate > GAIN * rates[best]:
            best = lanes
    return best


def _is_ours(target) -> bool:
    return isinstance(target, str) and target.startswith("depthbench.")
