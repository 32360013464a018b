"""What a plan costs, before any of it runs: numbers of each network and depth, and of the whole study."""

from collections.abc import Callable
from typing import Any

from depthbench.execution.cost.calibrate import calibrate, cells, on_a_line
from depthbench.execution.cost.memory import count_run, in_common, run_memory, together
from depthbench.execution.cost.schedule import makespan
from depthbench.execution.plan import Plan
from depthbench.execution.sharing import settled
from depthbench.machine.environment import busy
from depthbench.study.model import Run


def estimate(
    plan: Plan, measures: bool = True, tell: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Any]:
    """A row for each network and depth under "rows", and what holds for all beside it; plain values.

    A row: "parameters", "multiply_adds" (of one image), "memory_bytes" (peak of one run's process, with the
    file of images that it reads, and of those that read images for it), "recompute", "runs", "done",
    "seconds" (of one run, without the decoding of images; None where not known) and "measured" (whether that
    network and depth was tried out). Of the study: "decode" (as its [data] has it), "seconds" until all have
    ended, and "memory_bytes", that of the largest runs that may go at once. `measures`: train some steps to
    see how long they take; `tell` is told how many trials are made, of how many."""
    load = busy() if measures and plan.todo else None  # before the trials are load themselves
    if measures:
        plan = settled(plan)
    found, startup, notes = calibrate(plan, tell) if measures and plan.todo else ({}, 0.0, ())
    notes = (*([f"{load}: the times are those beside such work"] if load else []), *notes)
    if found and (plan.study.evaluate.robustness or plan.study.evaluate.ten_crop):
        notes = (*notes, "errors on corrupted images and over 10 crops are not in these times")
    finished = cells(plan.finished)
    rows, in_file = [], plan.images.in_file
    for (network, depth), runs in sorted(
        cells((*plan.finished, *plan.todo)).items(), key=lambda item: item[0][::-1]
    ):
        counts, recompute = count_run(runs[0], plan.images), runs[0].run_id in plan.recompute
        rows.append(
            {
                "network": network,
                "depth": depth,
                "runs": len(runs),
                "done": len(finished.get((network, depth), [])),
                "parameters": counts.parameters,
                "multiply_adds": counts.multiply_adds,
                "memory_bytes": in_file
                + run_memory(runs[0], plan.images, plan.device, recompute, plan.threads),
                "recompute": recompute,
                "seconds": _seconds(runs[0], plan, found),
                "measured": (network, depth) in found,
            }
        )
    by_cell = {(row["network"], row["depth"]): row for row in rows}
    todo = [by_cell[run.network, run.depth] for run in plan.todo]
    seconds = [row["seconds"] for row in todo]
    largest = sorted((row["memory_bytes"] for row in todo), reverse=True)[: plan.jobs]
    return {
        "study": plan.study.name,
        "device": plan.device,
        "jobs": plan.jobs,
        "threads": plan.threads,
        "steps": plan.study.recipe.steps,
        "batch_sizes": sorted({run.recipe.batch_size for run in (*plan.finished, *plan.todo)}),
        "runs": len(plan.finished) + len(plan.todo),
        "done": len(plan.finished),
        "seconds": None if None in seconds else startup * bool(seconds) + makespan(seconds, plan.jobs),
        "memory_bytes": together(largest, in_file + in_common(plan.images, plan.device, plan.lanes > 1)),
        "decode": plan.study.data.decode,
        "notes": [*plan.notes, *notes],
        "rows": rows,
    }


def _seconds(run: Run, plan: Plan, found: dict) -> float | None:
    """Of one run, where anything was measured of its network."""
    measured = {depth: seconds for (network, depth), seconds in found.items() if network == run.network}
    if not measured:
        return None
    return on_a_line(run.depth, measured, lambda depth: _multiply_adds(run, depth, plan))


def _multiply_adds(run: Run, depth: int, plan: Plan) -> int:
    return count_run(run.model_copy(update={"depth": depth}), plan.images).multiply_adds
