"""The cost of a plan before any of it runs: parameters, multiply-adds, memory and time."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from depthbench.events import Silent
from depthbench.execution.cost.calibrate import Calibration, Progress, calibrate, extrapolate
from depthbench.execution.cost.run_memory import (
    Cell,
    common_memory,
    count_run,
    memory_of_all,
    run_memory,
)
from depthbench.execution.lanes import choose_lanes
from depthbench.execution.plan import Plan
from depthbench.execution.schedule import makespan
from depthbench.machine.environment import busy
from depthbench.study.model import Run


@dataclass(frozen=True)
class CostRow:
    """The cost of the runs of one network at one depth."""

    network: str
    depth: int
    runs: int
    done: int
    parameters: int
    multiply_adds: int
    """Multiply-adds of the forward pass of one image."""
    memory_bytes: int
    """Peak memory of one run: its process, the image file that it maps and the processes that read for it."""
    recompute: bool
    """Whether activations are computed twice."""
    seconds: float | None
    """Seconds of one run, without decoding images. None if unknown."""
    measured: bool
    """Whether this network was measured at this depth. If not, `seconds` is extrapolated."""
    reason: str = ""
    """Why this depth was chosen, if the study left it open."""


@dataclass(frozen=True)
class PlanCost:
    """The cost of a whole study."""

    study: str
    device: str
    jobs: int
    threads: int
    steps: int
    batch_sizes: tuple[int, ...]
    runs: int
    done: int
    seconds: float | None
    """Seconds until all runs have ended. None if unknown."""
    memory_bytes: int
    """Peak memory of the largest runs that may train at once."""
    decode: str
    """When images are decoded, as in the study's [data]."""
    notes: tuple[str, ...]
    rows: tuple[CostRow, ...]
    most_steps: int | None = None
    """Steps of the longest run, if the networks of the study have budgets."""

    def to_json(self) -> str:
        """Return the cost as JSON, field by field."""
        return json.dumps(asdict(self), indent=1)


def estimate(plan: Plan, measures: bool = True, progress: Progress = lambda done, total: None) -> PlanCost:
    """Return the cost of `plan`. With `measures`, train some steps to learn how long they take."""
    load = busy() if measures and plan.todo else None  # before the trials add to the load
    if measures:
        plan = choose_lanes(plan, Silent())
    times = calibrate(plan, progress) if measures and plan.todo else Calibration()
    notes = [*plan.notes, *times.notes]
    if load:
        notes.insert(len(plan.notes), f"{load}, so the measured times are too long")
    if times.seconds and (plan.study.evaluate.robustness or plan.study.evaluate.ten_crop):
        notes.append("the times exclude errors on corrupted images and over 10 crops")
    runs, finished = group_by_cell((*plan.finished, *plan.todo)), group_by_cell(plan.finished)
    rows = {
        cell: _row(plan, runs[cell], len(finished.get(cell, [])), times)
        for cell in sorted(runs, key=lambda cell: cell[::-1])
    }
    todo = [rows[run.network, run.depth] for run in plan.todo]
    largest = sorted((row.memory_bytes for row in todo), reverse=True)[: plan.jobs]
    common = plan.footprint.in_file + common_memory(plan.footprint, plan.device, plan.lanes > 1)
    shortest, longest = plan.study.lengths()
    return PlanCost(
        study=plan.study.name,
        device=plan.device,
        jobs=plan.jobs,
        threads=plan.threads,
        steps=shortest,
        batch_sizes=tuple(sorted({run.recipe.batch_size for run in (*plan.finished, *plan.todo)})),
        runs=len(plan.finished) + len(plan.todo),
        done=len(plan.finished),
        seconds=_seconds_of_all([row.seconds for row in todo], plan.jobs, times.startup),
        memory_bytes=memory_of_all(largest, common),
        decode=plan.study.data.decode,
        notes=tuple(notes),
        rows=tuple(rows.values()),
        most_steps=longest if longest != shortest else None,
    )


def group_by_cell(runs: Iterable[Run]) -> dict[Cell, list[Run]]:
    """Return the runs of each network and depth."""
    groups: dict[Cell, list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.network, run.depth].append(run)
    return dict(groups)


def _row(plan: Plan, runs: list[Run], done: int, times: Calibration) -> CostRow:
    run = runs[0]  # the others differ in their seed only
    counts, recompute = count_run(run, plan.footprint), plan.mode_of(run).recompute
    memory = run_memory(run, plan.footprint, plan.device, recompute=recompute, threads=plan.threads)
    return CostRow(
        network=run.network,
        depth=run.depth,
        runs=len(runs),
        done=done,
        parameters=counts.parameters,
        multiply_adds=counts.multiply_adds,
        memory_bytes=plan.footprint.in_file + memory,
        recompute=recompute,
        seconds=_seconds(run, plan, times.of_network(run.network)),
        measured=(run.network, run.depth) in times.seconds,
        reason=plan.depth_choice.reasons.get((run.network, run.depth), "") if plan.depth_choice else "",
    )


def _seconds(run: Run, plan: Plan, measured: dict[int, float]) -> float | None:
    """Return the seconds of one run, or None if no depth of its network was measured."""
    if not measured:
        return None

    def work(depth: int) -> int:
        return count_run(run.model_copy(update={"depth": depth}), plan.footprint).multiply_adds

    return extrapolate(run.depth, measured, work)


def _seconds_of_all(seconds: list[float | None], jobs: int, startup: float) -> float | None:
    """Return the seconds until all runs have ended, given the seconds of each. None if one is unknown."""
    if not seconds:
        return 0.0
    known = [value for value in seconds if value is not None]
    return startup + makespan(known, jobs) if len(known) == len(seconds) else None
