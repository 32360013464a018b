"""How much memory the runs of a study need, how many fit at once, and which must compute their activations
twice (networks/checkpointing.py).

A study of small networks on a CPU is settled by a bound that needs no torch; only where that is a sizable
part of what is free is anything counted (networks/cost.py). Sizes are in bytes."""

import json
from collections.abc import Iterable, Sequence
from functools import cache
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from depthbench.data.images import Images
from depthbench.data.mapped import Mapped
from depthbench.data.residency import should_stream
from depthbench.errors import BadInput
from depthbench.execution.process import KEEP_MEMORY
from depthbench.machine.environment import cores_each
from depthbench.machine.memory import available
from depthbench.machine.units import in_bytes
from depthbench.networks import CIFAR, NETWORKS
from depthbench.registry import look_up
from depthbench.study.model import Run

if TYPE_CHECKING:
    from depthbench.networks.cost import Counts

# Of a process that trains next to nothing, measured on a CPU: its own, and libraries, which all share.
PROCESS, SHARED = 480_000_000, 400_000_000
# On a GPU, of its memory: libraries and their workspaces, once in each process. A round guess, not measured.
CONTEXT = 800_000_000
# Of a process that reads images ahead (data/source.py), measured as what each of two that decode crops of 224
# pixels shares with no other process (USS); 290 MB of it are torch's. And the batches that it has ready.
READER, AHEAD = 310_000_000, 2
ROOM = 0.9  # the part of the free memory that runs may fill
CERTAIN = 0.25  # a bound below this part of it settles the matter
MAY_BE_KILLED = "it may be killed; a smaller --batch-size needs less"

# For processes whose runs compute activations twice: large pages. Segments come and go, and leave a heap full
# of holes; large tensors that begin at large pages leave half as many (ResNet-1202: 2.0 GB, not 4.3). To give
# what is freed back to the system leaves none (1.2 GB) and takes twice the time.
LARGE_PAGES = KEEP_MEMORY | {"THP_MEM_ALLOC_ENABLE": "1"}

Cell = tuple[str, int]  # network, depth: runs of different seeds need the same


class Sizes(NamedTuple):
    """What a run costs depends on this of its images."""

    shape: tuple[int, int, int]  # (C, H, W)
    classes: int
    held: int  # bytes of images that each process has for itself, on its device
    evaluated: int  # images that each evaluation takes
    are_streamed: bool = False  # whether a run has processes that read training images ahead
    # bytes, where images are not streamed:
    copied: int = 0  # of the training images that each run evaluates on, where these are not all
    in_file: int = 0  # of images that all processes read from one file


def sizes(images: Images, evaluated_part: int | None, device: str) -> Sizes:
    """Of `images`, placed as data/placement.py will place them. evaluated_part: training images that an
    evaluation takes, None for all."""
    pixels, train_size = images.pixels, len(images.train_y)
    part = min(evaluated_part or train_size, train_size)
    evaluated = part + len(images.test_y) + (0 if images.val_y is None else len(images.val_y))
    are_streamed = should_stream(images, device, available(device))
    copied = part * prod(images.shape) if part < train_size and not are_streamed else 0
    in_file = 0
    if device.startswith("cuda"):
        held = 0 if are_streamed else sum(x.nbytes for x in pixels)
    elif are_streamed:
        held = sum(x.nbytes for x in pixels if isinstance(x, np.ndarray))
    else:  # on a CPU those in a row in a file are used in place
        in_file = sum(x.nbytes for x in pixels if isinstance(x, Mapped))
        held = sum(x.nbytes for x in pixels if device != "cpu" or getattr(x, "start", None) is None)
    return Sizes(images.shape, len(images.classes), held, evaluated, are_streamed, copied, in_file)


class Fit(NamedTuple):
    """How the runs of a study fit into the memory there is."""

    jobs: int  # at once
    recomputed: frozenset[Cell]
    notes: tuple[str, ...]  # what a person should know of it


def fit(
    runs: Iterable[Run],
    images: Sizes,
    device: str,
    jobs: int,
    *,
    is_chosen: bool = False,
    recompute: bool | None = None,
    in_turns: bool = False,
) -> Fit:
    """At most `jobs` of `runs` at once, fewer where the largest so many do not fit; just `jobs`, and a note,
    where a person has chosen (`is_chosen`). recompute: for all, for none, or (None) for those of which one
    alone would not fit. in_turns: runs share a process."""
    runs = list(runs)
    cells = {(run.network, run.depth): run for run in runs}
    free, threads = available(device), cores_each(jobs)
    needs, recomputed, notes = {}, set(), []
    for cell, run in cells.items():
        if not recompute and not look_up(NETWORKS, "network", run.family).is_ours:
            # as if there were no network
            needs[cell] = _idle(images, device) + readers(run, images, device, threads)
            continue
        bound = _idle(images, device) + _at_most(run, images) + readers(run, images, device, threads)
        if not recompute and bound < CERTAIN * free / jobs:
            needs[cell] = bound
            continue
        needs[cell], twice, note = _settle(run, images, device, free, recompute, threads)
        recomputed |= {cell} if twice else set()
        notes += [note] if note else []
    largest = sorted((needs[run.network, run.depth] for run in runs), reverse=True)
    reader = max((readers(run, images, device, 1) for run in runs), default=0)
    common = in_common(images, device, in_turns)

    def need(n: int) -> int:  # of fewer runs at once each has more threads, and as many readers
        readers_more = n * (cores_each(n) - threads) * reader
        return together(largest[:n], common) + readers_more + images.in_file  # which is slow to read again

    fitting = max((n for n in range(1, jobs + 1) if need(n) <= ROOM * free), default=1)
    if fitting < jobs:
        told = f"the {jobs} largest runs need about {in_bytes(need(jobs))} together"
        says = f"{told} and {in_bytes(free)} are free"
        chosen = f"--jobs {jobs}: {says}: some may be slow, or killed; --jobs {fitting} needs less"
        notes.append(chosen if is_chosen else f"{says}: {fitting} at a time")
    return Fit(jobs if is_chosen else fitting, frozenset(recomputed), tuple(notes))


def _settle(
    run: Run, images: Sizes, device: str, free: int, recompute: bool | None, threads: int
) -> tuple[int, bool, str | None]:
    """What one run needs, whether it computes its activations twice, and what a person should know of it.
    Raises BadInput where it is to and cannot."""
    name, room = f"{run.network}-{run.depth}", ROOM * free
    can = bool(count_run(run, images).blocks)
    if recompute and not can:
        raise BadInput(f"--recompute: network {run.network!r} has no blocks() to compute again")
    once, there = run_memory(run, images, device, False, threads), f"{in_bytes(free)} are free"
    if not recompute and once <= room:
        return once, False, None
    if recompute is False or not can:
        why = "" if can else "; its network has no blocks() to compute again"
        return once, False, f"{name} needs about {in_bytes(once)} and {there}: {MAY_BE_KILLED}{why}"
    twice = run_memory(run, images, device, True, threads)
    if twice > room:
        needs = f"{name} needs about {in_bytes(twice)} even with its activations computed twice"
        return twice, True, f"{needs} and {there}: {MAY_BE_KILLED}"
    if recompute:
        return twice, True, None
    needs = f"{name} needs about {in_bytes(once)} at batch {run.recipe.batch_size}"
    return twice, True, f"{needs} and {there}: its activations are computed twice (about {in_bytes(twice)})"


def together(needs: Sequence[int], common: int) -> int:
    """What runs that need so much each need at once; `common` of it is there once for all."""
    return sum(needs) - common * max(0, len(needs) - 1)


def in_common(images: Sizes, device: str, in_turns: bool) -> int:
    """What runs at once have between them: on a CPU libraries; on a GPU libraries and images, those runs that
    take turns in one process."""
    return in_turns * (CONTEXT + images.held) if device.startswith("cuda") else SHARED


def _idle(images: Sizes, device: str) -> int:
    """Of a run that trains next to nothing, of the memory of `device`. A file's pages are not among it: the
    system takes them back where memory is short."""
    libraries = CONTEXT if device.startswith("cuda") else PROCESS + SHARED
    return libraries + images.held + images.copied


def run_memory(run: Run, images: Sizes, device: str, recompute: bool, threads: int = 1) -> int:
    """Estimated peak memory of one run: resident, of its process and of those that read images for it; or on
    a GPU, of its memory."""
    state = {"sgd": int(run.recipe.momentum > 0), "adam": 2, "adamw": 2}[run.recipe.optimizer]
    training = count_run(run, images).training_memory(
        run.recipe.batch_size,
        copies=3 + state,  # the parameters, their gradients, and what an update of all at once needs
        recompute=recompute,
        number_bytes=2 if run.recipe.precision == "bf16" else 4,
        device=device.partition(":")[0],
    )
    if device.startswith("cuda") and run.probe.names:
        training *= 2  # a probed step may be eager while a graph holds the memory of its plain steps
    return _idle(images, device) + training + readers(run, images, device, threads)


def readers(run: Run, images: Sizes, device: str, threads: int) -> int:
    """Bytes of the processes that read images for a run, as many as it has threads, and of the batches that
    they have ready. None on a GPU, whose memory they do not take."""
    if not images.are_streamed or device.startswith("cuda"):
        return 0
    return threads * (READER + AHEAD * run.recipe.batch_size * prod(images.shape))


def count_run(run: Run, images: Sizes) -> "Counts":
    """What the network of `run` was counted to need."""
    options = json.dumps(run.options.model_dump(exclude_defaults=True))
    return _count(run.family, run.depth, run.plugin, options, images.shape, images.classes)


@cache
def _count(
    network: str, depth: int, plugin: str, options: str, shape: tuple[int, int, int], classes: int
) -> "Counts":
    """Counted on two images, since normalisation over a batch needs two. `plugin` tells networks of one name
    apart."""
    import torch

    from depthbench.networks.cost import count

    family = look_up(NETWORKS, "network", network)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # of so little work a second thread is soon waiting for the first
    try:
        with torch.random.fork_rng(devices=[]):
            channels = family.in_channels(shape)
            built = family(depth=depth, in_channels=channels, num_classes=classes, **json.loads(options))
            return count(built, (2, *shape))
    finally:
        torch.set_num_threads(threads)


def _at_most(run: Run, images: Sizes) -> float:
    """A bound on what training takes of our CIFAR networks, without torch; of others nothing is known (inf).

    Every layer is taken to work on maps of full size, keeping its input to normalisation, to the nonlinearity
    and to dropout, and dropout's mask; and to have the parameters of the widest."""
    family = look_up(NETWORKS, "network", run.family)
    others = {"order", "gate", "shortcut_scale", "shortcut_dropout"}  # of which nothing is said below
    chosen = run.options.model_dump(exclude_defaults=True)  # a variant sets every option, most to the default
    if family.target != CIFAR or len(family.options) > 1 or others & set(chosen):
        return float("inf")
    width = run.options.width or 16
    _, height, columns = images.shape
    maps = 4 * run.depth + 20
    activations = 1.2 * 4 * maps * run.recipe.batch_size * height * columns * width
    parameters = 5 * 4 * run.depth * 10 * (4 * width) ** 2
    return activations + parameters
