"""The memory that a run needs: its images, its libraries, its training and its reader processes.

Small networks on a CPU are covered by a bound that needs no torch. Only if that bound is a sizable part of
the free memory is the network counted (networks/cost.py). Sizes are in bytes."""

import json
from collections.abc import Sequence
from functools import cache
from math import prod
from typing import TYPE_CHECKING, TypeVar, cast

from depthbench.execution.cost.images import ImageFootprint
from depthbench.networks import NETWORKS
from depthbench.networks.task import Task
from depthbench.registry import look_up
from depthbench.study.model import Run
from depthbench.training.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from depthbench.networks.cost import Counts

# A process that trains next to nothing, measured on a CPU: its private memory, and libraries that all share.
PROCESS, SHARED = 480_000_000, 400_000_000
# GPU memory of each process for libraries and their workspaces. A round guess, not measured.
CONTEXT = 800_000_000
# A process that reads images ahead (data/source.py), measured as the private memory (USS) of each of two
# processes that decode crops of 224 pixels. torch takes 290 MB of it.
READER = 310_000_000
BATCHES_AHEAD = 2  # that each reader has ready

Cell = tuple[str, int]
"""(network, depth). Runs that differ only in their seed need the same memory."""

ImageShape = tuple[int, int, int]
Bytes = TypeVar("Bytes", int, float)


def run_memory(run: Run, images: ImageFootprint, device: str, *, recompute: bool, threads: int = 1) -> int:
    """Return the estimated peak memory of one run.

    On a CPU: the resident memory of its process and of those that read images for it. On a GPU: GPU
    memory."""
    state = look_up(OPTIMIZERS, "optimizer", run.recipe.optimizer).state_count(run.recipe)
    training = count_run(run, images).training_memory(
        run.recipe.batch_size,
        copies=3 + state,  # the parameters, their gradients, and what an update of all at once needs
        recompute=recompute,
        number_bytes=2 if run.recipe.precision == "bf16" else 4,
        device=device.partition(":")[0],
    )
    if device.startswith("cuda") and run.probe.names:
        training *= 2  # a probed step may be eager while a graph holds the memory of its plain steps
    return fixed_memory(run, images, device, threads) + training


def bound_on_memory(run: Run, images: ImageFootprint, device: str, threads: int) -> float:
    """Return an upper bound on `run_memory` that needs no torch; infinite if no bound is known."""
    return fixed_memory(run, images, device, threads) + _bound_on_training(run, images)


def fixed_memory(run: Run, images: ImageFootprint, device: str, threads: int) -> int:
    """Return the memory that a run needs for any network: libraries, images and readers.

    A file's pages are not included, because the system takes them back where memory is short."""
    libraries = CONTEXT if device.startswith("cuda") else PROCESS + SHARED
    readers = reader_memory(run, images, device, threads)
    return libraries + images.held + images.evaluation_copy + readers


def reader_memory(run: Run, images: ImageFootprint, device: str, threads: int) -> int:
    """Return the memory of a run's reader processes, one per thread, and of the batches that they have ready.

    0 on a GPU, whose memory they do not use."""
    if not images.are_streamed or device.startswith("cuda"):
        return 0
    return threads * (READER + BATCHES_AHEAD * run.recipe.batch_size * prod(images.shape))


def memory_of_all(needs: Sequence[Bytes], common: int) -> Bytes:
    """Return the memory of simultaneous runs from the need of each. The `common` part of them counts once."""
    return sum(needs) - common * max(0, len(needs) - 1)


def common_memory(images: ImageFootprint, device: str, takes_turns: bool) -> int:
    """Return the memory that simultaneous runs share.

    On a CPU, these are libraries. On a GPU, these are libraries and images if the runs take turns in one
    process."""
    if device.startswith("cuda"):
        return CONTEXT + images.held if takes_turns else 0
    return SHARED


def count_run(run: Run, images: ImageFootprint) -> "Counts":
    """Return the counts of a run's network (networks/cost.py)."""
    options = json.dumps(run.options.model_dump(exclude_defaults=True))
    return _count(
        run.family,
        run.depth,
        plugin=run.plugin,
        options=options,
        task=images.task,
    )


@cache
def _count(network: str, depth: int, *, plugin: str, options: str, task: Task) -> "Counts":
    """Count on two inputs, because normalisation over a batch needs two.

    `plugin` distinguishes networks of the same name in the cache."""
    import torch

    from depthbench.networks.cost import count
    from depthbench.networks.lazy import initialise_lazily, is_lazy

    family = look_up(NETWORKS, "network", network)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for so little work a second thread would only wait for the first
    try:
        with torch.random.fork_rng(devices=[]):
            built = family(depth=depth, **family.arguments(task), **json.loads(options))
            if is_lazy(built):
                initialise_lazily(built, task.shape)
            return count(built, (2, *task.shape))
    finally:
        torch.set_num_threads(threads)


def _bound_on_training(run: Run, images: ImageFootprint) -> float:
    """Return the family's bound on the memory of training, which needs no torch.

    It is infinite if the family has no bound, or if the bound does not cover an option of the run. The memory
    must then be counted."""
    family = look_up(NETWORKS, "network", run.family)
    changed = run.options.model_dump(exclude_defaults=True)
    if family.memory is None or not family.memory.covers.issuperset(changed):
        return float("inf")
    width = family.settle(run.depth, changed)["width"]
    return family.memory.bytes(run.depth, width, run.recipe.batch_size, cast("ImageShape", images.shape))
