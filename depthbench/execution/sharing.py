"""The device of a study's runs, and the share of the machine that each run gets."""

from dataclasses import dataclass, replace

from depthbench.execution.backends import backend_of
from depthbench.execution.cost.fit import Fit, fit
from depthbench.execution.cost.images import ImageFootprint
from depthbench.execution.cost.order import by_cost
from depthbench.execution.settings import Execution
from depthbench.machine.device import resolve_device
from depthbench.machine.environment import cores_each, usable_cores
from depthbench.machine.launch import read_launch
from depthbench.networks.options import draws_random_numbers
from depthbench.study.model import Run, Study

MOST_LANES = 4  # runs that share a GPU, unless --jobs sets their number


@dataclass(frozen=True)
class Shares:
    """The share of the machine that each run gets."""

    fit: Fit
    jobs: int
    threads: int
    takes_turns: bool = False
    """Whether runs share a process on a GPU."""


def choose_device(execution: Execution) -> str:
    """Return the device of the runs as torch names it.

    Raises BadInput for an unknown name, and for a device that this machine lacks if the runs train on it."""
    backend = backend_of(execution.backend)
    if backend.is_together and execution.device == "cuda":
        return resolve_device(f"cuda:{read_launch().local_rank}")
    if not backend.is_elsewhere:
        return resolve_device(execution.device)
    if execution.device == "auto":
        return "cuda:0" if execution.gpus_per_run else "cpu"
    return resolve_device("cpu") if execution.device == "cpu" else "cuda:0"


def share(study: Study, execution: Execution, device: str, images: ImageFootprint) -> Shares:
    """Decide how many runs train at once so that they fit into memory, and how many threads each has."""
    runs = by_cost(study.runs())
    if backend_of(execution.backend).is_elsewhere:
        return _share_elsewhere(runs, execution)
    if backend_of(execution.backend).is_together:
        return _share_together(runs, execution, device, images=images)
    takes_turns = device.startswith("cuda") and execution.step_mode != "eager" and can_take_turns(study)
    # The rounds of a frontier search have different numbers of runs, but all need the same number of threads,
    # because it affects rounding.
    count = len(runs) if study.frontier is None else max(len(runs), usable_cores())
    wanted = MOST_LANES if takes_turns and execution.jobs is None else execution.jobs
    jobs, _ = share_cores(device, count, wanted)
    fitted = fit(runs, images, device, jobs, execution=execution, takes_turns=takes_turns)
    jobs, threads = share_cores(device, count, fitted.jobs)
    return Shares(fitted, jobs, threads, takes_turns)


def _share_together(
    runs: tuple[Run, ...], execution: Execution, device: str, *, images: ImageFootprint
) -> Shares:
    """Return the share of one process of torchrun: a part of every batch, and of the cores of its machine."""
    launch = read_launch()
    parts = []
    for run in runs:
        part = -(-run.recipe.batch_size // launch.size)
        recipe = run.recipe.model_copy(update={"batch_size": max(2, part)})
        parts.append(run.model_copy(update={"recipe": recipe}))
    fitted = fit(parts, images, device, 1, execution=execution)
    note = f"{launch.size} processes train each run together"
    return Shares(replace(fitted, notes=(note, *fitted.notes)), 1, cores_each(launch.local_size))


def _share_elsewhere(runs: tuple[Run, ...], execution: Execution) -> Shares:
    """Return the share that the settings request. The cores and memory of other machines are not known.

    Each run has one thread by default, as the runs of a large study have on one machine."""
    jobs = max(1, min(execution.jobs or len(runs), len(runs)))
    cells = frozenset((run.network, run.depth) for run in runs) if execution.recompute else frozenset()
    return Shares(Fit(jobs, cells), jobs, execution.cpus_per_run or 1)


def share_cores(device: str, runs: int, jobs: int | None) -> tuple[int, int]:
    """Return (jobs, threads of each) for a study of `runs` runs, finished ones included.

    Finished runs count because the number of threads affects the last digits of a result, which must not
    depend on when a run is trained. On a CPU one run per core with one thread each is fastest for networks
    this small. A GPU trains one run at a time, unless runs take turns (lanes.py)."""
    if jobs is None:
        jobs = usable_cores() if device == "cpu" else 1
    jobs = max(1, min(jobs, runs))
    return jobs, cores_each(jobs)


def can_take_turns(study: Study) -> bool:
    """Return whether runs that take turns in one process have the results of runs alone.

    Runs that draw random numbers while they train (dropout, stochastic depth, and possibly plug-ins) would
    share a generator.
    TF32 is a setting of the whole process, so all runs must agree on it."""
    names = study.networks()
    draw = any(_draws(study, name) for name in names)
    agree_on_tf32 = len({study.recipe_of(name).precision == "tf32" for name in names}) == 1
    return agree_on_tf32 and not draw and all(study.family(name).is_ours for name in names)


def _draws(study: Study, network: str) -> bool:
    """Return whether the runs of a network draw random numbers while they train."""
    family, chosen = study.family(network), study.options_of(network).model_dump()
    return any(
        draws_random_numbers(family.settle(depth, chosen))
        for grid in study.all_grids
        for depth in (grid.depth if network in grid.network else ())
    )
