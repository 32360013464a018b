"""The number of runs that fit into memory at once, and the runs that must compute activations twice.

Sizes are in bytes."""

from collections.abc import Iterable
from dataclasses import dataclass

from depthbench.errors import BadInput
from depthbench.execution.cost.images import ImageFootprint
from depthbench.execution.cost.run_memory import (
    Cell,
    bound_on_memory,
    common_memory,
    count_run,
    fixed_memory,
    memory_of_all,
    reader_memory,
    run_memory,
)
from depthbench.execution.settings import Execution
from depthbench.machine.environment import cores_each
from depthbench.machine.memory import available
from depthbench.machine.units import in_bytes
from depthbench.networks import NETWORKS
from depthbench.registry import look_up
from depthbench.study.model import Run

USABLE = 0.9  # the part of the free memory that runs may fill
CLEARLY_FITS = 0.25  # a bound below this part of the free memory is not counted exactly
MAY_BE_KILLED = "so it may be killed; use a smaller --batch-size"


@dataclass(frozen=True)
class Fit:
    """The settings with which the runs of a study fit into the free memory."""

    jobs: int
    """Number of runs at once."""
    recomputed: frozenset[Cell] = frozenset()
    """The networks and depths that compute their activations twice."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Need:
    """The memory of one run."""

    size: float
    recompute: bool = False
    note: str | None = None


def fit(
    runs: Iterable[Run],
    images: ImageFootprint,
    device: str,
    jobs: int,
    *,
    execution: Execution = Execution(),  # noqa: B008
    takes_turns: bool = False,
) -> Fit:
    """Return how many of `runs` train at once: `jobs`, or fewer if the largest do not fit together.

    If `execution` sets the number of jobs, it is kept and a note warns. Its `recompute` holds for all runs;
    if that is None, the runs that would not fit alone compute their activations twice. takes_turns: whether
    runs share a process."""
    runs = list(runs)
    free, threads = available(device), cores_each(jobs)
    machine = _Machine(images, device, free, threads, jobs)
    one_of_each = {(run.network, run.depth): run for run in runs}
    needs = {cell: machine.need_of(run, execution.recompute) for cell, run in one_of_each.items()}
    notes = [need.note for need in needs.values() if need.note]

    largest = sorted((needs[run.network, run.depth].size for run in runs), reverse=True)
    reader = max((reader_memory(run, images, device, threads=1) for run in runs), default=0)
    common = common_memory(images, device, takes_turns)

    def memory_of(count: int) -> float:
        """Return the memory of the `count` largest runs. Fewer runs have more threads and readers each."""
        more_readers = count * (cores_each(count) - threads) * reader
        # The pages of a file can be taken back, but reading them again is slow.
        return memory_of_all(largest[:count], common) + more_readers + images.in_file

    fitting = max((n for n in range(1, jobs + 1) if memory_of(n) <= USABLE * free), default=1)
    if fitting < jobs:
        problem = (
            f"the {jobs} largest runs need about {in_bytes(memory_of(jobs))} together, "
            f"but only {in_bytes(free)} are free"
        )
        if execution.jobs is None:
            notes.append(f"{problem}, so at most {fitting} train{'s'[: fitting == 1]} at a time")
        else:
            consequence = f"so some may be slow or killed; --jobs {fitting} needs less"
            notes.append(f"--jobs {jobs}: {problem}, {consequence}")
    return Fit(
        jobs=fitting if execution.jobs is None else jobs,
        recomputed=frozenset(cell for cell, need in needs.items() if need.recompute),
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Machine:
    """The memory that runs have, and what affects their needs."""

    images: ImageFootprint
    device: str
    free: int
    threads: int
    jobs: int

    def need_of(self, run: Run, recompute: bool | None) -> _Need:
        """Return what one run needs. Raises BadInput if it cannot recompute its activations as asked."""
        if not recompute:
            if not look_up(NETWORKS, "network", run.family).is_ours:
                # A plug-in's network is not built here, so only what surrounds it is known.
                return _Need(fixed_memory(run, self.images, self.device, self.threads))
            bound = bound_on_memory(run, self.images, self.device, self.threads)
            if bound < CLEARLY_FITS * self.free / self.jobs:
                return _Need(bound)
        return self._counted_need(run, recompute)

    def _counted_need(self, run: Run, recompute: bool | None) -> _Need:
        name, usable = f"{run.network}-{run.depth}", USABLE * self.free
        free = f"but only {in_bytes(self.free)} are free"
        can_recompute = bool(count_run(run, self.images).blocks)
        if recompute and not can_recompute:
            raise BadInput(
                f"--recompute: network {run.network!r} has no blocks() whose activations can be recomputed; "
                "use --no-recompute"
            )
        once = self._memory(run, recompute=False)
        if not recompute and once <= usable:
            return _Need(once)
        if recompute is False or not can_recompute:
            note = f"{name} needs about {in_bytes(once)}, {free}, {MAY_BE_KILLED}"
            if not can_recompute:
                note += " (its network has no blocks() whose activations can be recomputed)"
            return _Need(once, note=note)
        twice = self._memory(run, recompute=True)
        if twice > usable:
            needs = f"{name} needs about {in_bytes(twice)} even if it computes its activations twice"
            return _Need(twice, recompute=True, note=f"{needs}, {free}, {MAY_BE_KILLED}")
        if recompute:
            return _Need(twice, recompute=True)
        return _Need(
            twice,
            recompute=True,
            note=f"{name} needs about {in_bytes(once)} at batch {run.recipe.batch_size}, {free}, so its "
            f"activations are computed twice (which needs about {in_bytes(twice)})",
        )

    def _memory(self, run: Run, *, recompute: bool) -> int:
        return run_memory(run, self.images, self.device, recompute=recompute, threads=self.threads)
