"""The number of runs that share a GPU.

Runs take turns in one process, step by step. Each has its captured step on its own stream, so that the
kernels of one run fill what those of another leave idle. The best number of runs is measured on the study's
own runs."""

import dataclasses
from collections.abc import Mapping

from depthbench.events import Display, Note
from depthbench.execution.lane_rates import LaneTask
from depthbench.execution.plan import Plan
from depthbench.execution.process import Process
from depthbench.machine.environment import cores_each

WORTH_MEASURING = 5000  # steps of all runs; with fewer, measuring takes as long as it saves
GAIN = 1.05  # more lanes must be faster by this factor, because each delays the others and uses memory
COUNTS = (1, 2, 4, 8, 16)


def choose_lanes(plan: Plan, display: Display) -> Plan:
    """Return `plan` with the number of lanes, up to `plan.lanes`, that trains the most images per second.

    Returns `plan` itself if there is nothing to choose or measuring fails."""
    steps = sum(run.steps for run in plan.todo)
    if not plan.measures_lanes or plan.lanes < 2 or steps < WORTH_MEASURING:
        return plan
    display.show(Note(f"measuring how many runs at once are fastest on {plan.device}"))
    middle = plan.todo[len(plan.todo) // 2]  # they are sorted by cost
    counts = tuple(count for count in COUNTS if count <= plan.lanes)
    process = Process("depthbench.execution.lane_rates", plan.threads)
    try:
        process.send(LaneTask(middle, plan.footprint, plan.mode_of(middle), counts))
        rates = process.receive()
    except (EOFError, OSError):
        cause = process.cause_of_death()
        display.show(Note(f"the measurement failed ({cause}), so {plan.lanes} runs alternate"))
        return plan
    finally:
        process.kill()
    lanes = fastest(rates)
    measured = ", ".join(f"{rate:.0f} images/s with {count}" for count, rate in rates.items())
    display.show(Note(f"runs at once on {plan.device}: {lanes} (measured with {middle.run_id}: {measured})"))
    return dataclasses.replace(plan, jobs=lanes, lanes=lanes, threads=cores_each(lanes))


def fastest(rates: Mapping[int, float]) -> int:
    """Return the number of lanes that no larger number beats by GAIN. `rates`: lanes -> images per second."""
    best = min(rates)
    for lanes, rate in sorted(rates.items()):
        if rate > GAIN * rates[best]:
            best = lanes
    return best
