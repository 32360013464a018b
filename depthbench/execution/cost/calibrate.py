"""How long the runs of a plan will take on this machine: a few real steps of some, a straight line for the
rest."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean

from depthbench.execution.cost.memory import LARGE_PAGES, Cell, count_run
from depthbench.execution.cost.pace import PROBED, SECONDS
from depthbench.execution.plan import Plan
from depthbench.execution.process import KEEP_MEMORY, Process
from depthbench.networks import NETWORKS
from depthbench.registry import look_up
from depthbench.study.model import Run

# Multiply-adds of an update, forward, that is tried for one or two networks: seconds. More share it.
MOST_WORK = {"cpu": 5e10, "mps": 5e11, "cuda": 5e12}
FEW_SECONDS = 15.0  # of trials, and all are made; else of each network the shallowest and a middle one


class Failed(RuntimeError):
    """A trial ended otherwise than with its times."""


class Team:
    """As many trial processes as the plan has, which do the same at once, since runs that share a machine
    slow each other; in each as many runs as take turns there."""

    def __init__(self, plan: Plan):
        self.plan = plan
        began = time.perf_counter()
        environment = LARGE_PAGES if plan.recompute else KEEP_MEMORY
        self.processes: list[Process] = []
        for _ in range(-(-plan.jobs // plan.lanes)):
            self.processes.append(Process("depthbench.execution.cost.trial", plan.threads, environment))
        machine = {
            "sizes": plan.images,
            "device": plan.device,
            "step": plan.execution.step_mode,
            "lanes": plan.lanes,
        }
        for process in self.processes:
            process.tell({"plugins": plan.study.plugins, "threads": plan.threads, "machine": machine})
        try:
            self._hear()
        except BaseException:
            self.__exit__()
            raise
        self.startup = time.perf_counter() - began  # seconds until a process trains

    def __enter__(self) -> "Team":
        return self

    def __exit__(self, *error) -> None:
        for process in self.processes:
            process.kill()

    def try_out(self, run: Run, recompute: bool) -> float:
        """Seconds that `run` will take. Raises Failed."""
        for process in self.processes:
            process.tell((run, recompute))
        return mean(pace.of(run, self.plan.images.evaluated) for _, pace in self._hear())

    def _hear(self) -> list:
        """One answer of each."""
        answers = []
        for process in self.processes:
            try:
                answers.append(process.hear())
            except (EOFError, OSError):
                raise Failed(process.cause_of_death()) from None
        failed = [answer[1] for answer in answers if answer[0] == "failed"]
        if failed:
            raise Failed(failed[0])
        return answers


def calibrate(
    plan: Plan, tell: Callable[[int, int], None] = lambda done, total: None
) -> tuple[dict[Cell, float], float, tuple[str, ...]]:
    """Measured seconds of runs of some (network, depth) of `plan.todo`, or of shallower ones of the same
    networks, those of a process to start, and what went wrong. `tell` is told how many trials are made, of
    how many."""
    families: dict[str, list[Run]] = defaultdict(list)
    for run in sorted({(run.network, run.depth): run for run in plan.todo}.values(), key=lambda r: r.depth):
        families[run.network].append(run)
    twice = set(plan.recompute)
    most = MOST_WORK.get(plan.device.partition(":")[0], math.inf) / max(1, len(families) / 2)
    for network, (least, *_) in families.items():
        smaller = shallower(least, plan, most)
        if smaller is not None:
            families[network] = [smaller]
            twice |= {smaller.run_id} if least.run_id in plan.recompute else set()
    measured: dict[Cell, float] = {}
    notes = []
    try:
        with Team(plan) as team:
            first = [runs[0] for runs in families.values()]
            for done, run in enumerate(first):
                tell(done, len(first))
                measured[run.network, run.depth] = team.try_out(run, run.run_id in twice)
            further = chosen(families, measured)
            for done, run in enumerate(further, len(first)):
                tell(done, len(first) + len(further))
                measured[run.network, run.depth] = team.try_out(run, run.run_id in twice)
            return measured, team.startup, ()
    except Failed as error:
        notes.append(f"not all could be measured: {error}")
    return measured, 0.0, tuple(notes)


def shallower(run: Run, plan: Plan, most: float) -> Run | None:
    """The run to try for one whose update is too much work to be tried, more than `most` multiply-adds: of a
    depth, by doubling n, that is not, or of the least. None where it can be tried itself, or is the least."""

    def is_little(depth: int) -> bool:
        tried = run.model_copy(update={"depth": depth})
        return count_run(tried, plan.images).multiply_adds * run.recipe.batch_size <= most

    if is_little(run.depth):
        return None
    rule, n = look_up(NETWORKS, "network", run.family).depths, 1
    found = rule.depth(n)
    while (depth := rule.depth(2 * n)) is not None and depth < run.depth and is_little(depth):
        found, n = depth, 2 * n
    return run.model_copy(update={"depth": found}) if found < run.depth else None


def chosen(families: Mapping[str, Sequence[Run]], measured: Mapping[Cell, float]) -> list[Run]:
    """Which runs to try after the shallowest of each network, by what these took: all, where that takes
    seconds; else a middle one, where it takes not much longer."""
    costs = {}
    for network, (first, *others) in families.items():
        a_step = measured[network, first.depth] / first.steps
        for run in others:
            costs[network, run.depth] = SECONDS + (PROBED + 2) * a_step * run.depth / first.depth
    if sum(costs.values()) <= FEW_SECONDS:
        return [run for runs in families.values() for run in runs[1:]]
    middle = [runs[len(runs) // 2] for runs in families.values() if len(runs) > 1]
    return [run for run in middle if costs[run.network, run.depth] <= FEW_SECONDS]


def on_a_line(depth: int, measured: Mapping[int, float], work: Callable[[int], float]) -> float:
    """Seconds of a run of `depth`, from those of two or more measured depths, on the line through the
    shallowest and the deepest; from those of one, in proportion to `work(depth)`, its multiply-adds."""
    if depth in measured:
        return measured[depth]
    low, high = min(measured), max(measured)
    if low == high:
        return measured[low] * work(depth) / work(low)
    slope = (measured[high] - measured[low]) / (high - low)
    return max(measured[low] + slope * (depth - low), min(measured.values()) * depth / high)


def cells(runs: Iterable[Run]) -> dict[Cell, list[Run]]:
    """The runs of each network and depth."""
    found: dict[Cell, list[Run]] = defaultdict(list)
    for run in runs:
        found[run.network, run.depth].append(run)
    return dict(found)
