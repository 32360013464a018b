"""The time that the runs of a plan take here, measured on a few steps of some runs and extrapolated."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean
from typing import TypeVar

from depthbench.execution.cost.pace import PROBED, SECONDS
from depthbench.execution.cost.run_memory import Cell, count_run
from depthbench.execution.messages import Failed, Ready, Trial, TrialSetup
from depthbench.execution.plan import Plan
from depthbench.execution.process import Process, worker_environment
from depthbench.networks import NETWORKS
from depthbench.registry import look_up
from depthbench.study.model import Run
from depthbench.training.mode import TrainingMode
from depthbench.training.pace import Pace

# The most forward multiply-adds of an update that is tried. Each of more than two networks may have fewer, so
# that all together have as many as two.
MOST_WORK = {"cpu": 5e10, "mps": 5e11, "cuda": 5e12}
# All trials are made if they take at most this many seconds together. Otherwise a shallow run of each network
# is tried, and also a middle one if that alone takes at most this many seconds.
FEW_SECONDS = 15.0

A = TypeVar("A", Ready, Pace)

Progress = Callable[[int, int], None]
"""Called with (trials made, trials in all)."""


class TrialFailed(RuntimeError):
    """A trial ended without its times."""


@dataclass(frozen=True)
class Calibration:
    """Measured times."""

    seconds: Mapping[Cell, float] = field(default_factory=dict)
    """Seconds of one run of each (network, depth) that was tried."""
    startup: float = 0.0
    """Seconds until a process trains."""
    notes: tuple[str, ...] = ()

    def of_network(self, network: str) -> dict[int, float]:
        """Return the measured seconds of a network by depth."""
        return {depth: seconds for (name, depth), seconds in self.seconds.items() if name == network}


class Team:
    """As many trial processes as the plan has, which try the same run at once.

    Runs that share a machine slow each other, so that one process alone would measure too short a time. Each
    process has as many runs as take turns in it."""

    def __init__(self, plan: Plan):
        self.plan = plan
        began = time.perf_counter()
        environment = worker_environment(bool(plan.recompute))
        self.processes: list[Process] = []
        for _ in range(-(-plan.jobs // plan.lanes)):
            self.processes.append(Process("depthbench.execution.cost.trial", plan.threads, environment))
        setup = TrialSetup(plan.study.plugins, plan.threads, plan.footprint, plan.lanes)
        for process in self.processes:
            process.send(setup)
        try:
            self._receive(Ready)
        except BaseException:
            self.__exit__()
            raise
        self.startup = time.perf_counter() - began

    def __enter__(self) -> "Team":
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes:
            process.kill()

    def try_run(self, run: Run, mode: TrainingMode) -> float:
        """Return the seconds that `run` will take. Raises TrialFailed."""
        for process in self.processes:
            process.send(Trial(run, mode))
        return mean(pace.of(run, self.plan.footprint.evaluated) for pace in self._receive(Pace))

    def _receive(self, kind: type[A]) -> list[A]:
        """Return one answer of this kind from each process. Raises TrialFailed."""
        answers = []
        for process in self.processes:
            try:
                answers.append(process.receive())
            except (EOFError, OSError):
                raise TrialFailed(process.cause_of_death()) from None
        for answer in answers:
            if isinstance(answer, Failed):
                raise TrialFailed(answer.reason)
        return [answer for answer in answers if isinstance(answer, kind)]


def calibrate(plan: Plan, progress: Progress = lambda done, total: None) -> Calibration:
    """Measure runs of some (network, depth) of `plan.todo`, or of shallower ones of the same networks."""
    families, modes = _runs_to_try(plan)
    measured: dict[Cell, float] = {}
    try:
        with Team(plan) as team:

            def try_run(run: Run) -> None:
                measured[run.network, run.depth] = team.try_run(run, modes[run.network, run.depth])

            first = [runs[0] for runs in families.values()]
            for done, run in enumerate(first):
                progress(done, len(first))
                try_run(run)
            further = choose_further(families, measured)
            for done, run in enumerate(further, len(first)):
                progress(done, len(first) + len(further))
                try_run(run)
            return Calibration(measured, team.startup)
    except TrialFailed as error:
        return Calibration(measured, notes=(f"some networks could not be measured: {error}",))


def _runs_to_try(plan: Plan) -> tuple[dict[str, list[Run]], dict[Cell, TrainingMode]]:
    """Return the runs of each network that may be tried, the shallowest first, and the mode of each.

    If even the shallowest is too much work, a shallower run of the same network replaces them all."""
    families: dict[str, list[Run]] = defaultdict(list)
    one_of_each = {(run.network, run.depth): run for run in plan.todo}
    for run in sorted(one_of_each.values(), key=lambda run: run.depth):
        families[run.network].append(run)
    # The trials use random images in memory, wherever the study's images are.
    modes = {cell: replace(plan.mode_of(run), is_streamed=None) for cell, run in one_of_each.items()}
    most = MOST_WORK.get(plan.device.partition(":")[0], math.inf) / max(1, len(families) / 2)
    for network, (shallowest, *_) in families.items():
        smaller = shallower(shallowest, plan, most)
        if smaller is not None:
            families[network] = [smaller]
            modes[network, smaller.depth] = modes[network, shallowest.depth]
    return families, modes


def shallower(run: Run, plan: Plan, most: float) -> Run | None:
    """Return the run to try in place of `run` if an update of it takes more than `most` multiply-adds.

    Its depth is the deepest of n = 1, 2, 4, ... that is not too much work, or the family's shallowest.
    Returns None if `run` can be tried itself or has the shallowest depth."""

    def is_little(depth: int) -> bool:
        tried = run.model_copy(update={"depth": depth})
        return count_run(tried, plan.footprint).multiply_adds * run.recipe.batch_size <= most

    if is_little(run.depth):
        return None
    rule, n = look_up(NETWORKS, "network", run.family).depths, 1
    deepest = rule.depth(n)
    assert deepest is not None  # every family has a shallowest depth
    while (depth := rule.depth(2 * n)) is not None and depth < run.depth and is_little(depth):
        deepest, n = depth, 2 * n
    return run.model_copy(update={"depth": deepest}) if deepest < run.depth else None


def choose_further(families: Mapping[str, Sequence[Run]], measured: Mapping[Cell, float]) -> list[Run]:
    """Return the runs to try after the shallowest of each network, whose times are known.

    These are all of them if that takes only seconds. Otherwise it is a middle one of each network, if that
    does not take much longer."""
    costs = {}
    for network, (first, *others) in families.items():
        seconds_per_step = measured[network, first.depth] / first.steps
        for run in others:
            costs[network, run.depth] = SECONDS + (PROBED + 2) * seconds_per_step * run.depth / first.depth
    if sum(costs.values()) <= FEW_SECONDS:
        return [run for runs in families.values() for run in runs[1:]]
    middle = [runs[len(runs) // 2] for runs in families.values() if len(runs) > 1]
    return [run for run in middle if costs[run.network, run.depth] <= FEW_SECONDS]


def extrapolate(depth: int, measured: Mapping[int, float], work: Callable[[int], float]) -> float:
    """Return the seconds of a run at `depth` from those of measured depths.

    From two or more depths: the line through the shallowest and the deepest, but never less than the shortest
    time scaled by depth / deepest. From one: in proportion to `work(depth)`, its multiply-adds."""
    if depth in measured:
        return measured[depth]
    low, high = min(measured), max(measured)
    if low == high:
        return measured[low] * work(depth) / work(low)
    slope = (measured[high] - measured[low]) / (high - low)
    return max(measured[low] + slope * (depth - low), min(measured.values()) * depth / high)
