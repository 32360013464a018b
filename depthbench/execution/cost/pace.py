"""Measure the speed of a run: a few real steps of it on random images, and one evaluation."""

import contextlib
import time
from collections.abc import Callable
from math import prod
from statistics import median
from typing import Any

import numpy as np

from depthbench.data.images import Images
from depthbench.data.labelled import Labelled
from depthbench.data.sequences import Sequences, smallest_type
from depthbench.execution.cost.images import ImageFootprint
from depthbench.networks.task import Task
from depthbench.study.model import Run
from depthbench.training.mode import TrainingMode
from depthbench.training.pace import Pace

SECONDS = 1.0  # of steps after the warm-up: enough to know how long a step takes
MOST_SECONDS = 15.0  # of steps, after which no more are made
MOST_STEPS = 200
PROBED = 3  # the step that is probed; earlier steps warm up


def random_data(images: ImageFootprint, count: int) -> Labelled:
    """Return noise: `count` training inputs and as many test inputs, of the shape and task of `images`."""
    rng = np.random.default_rng(0)
    if images.vocabulary:
        return _random_sequences(images.task, count, rng)
    x = rng.integers(0, 256, (2, count, *images.shape), dtype=np.uint8)
    y = np.arange(count) % images.classes
    classes = tuple(map(str, range(images.classes)))
    return Images("noise", x[0], y, x[1], y, classes, flips=False)


def _random_sequences(task: Task, count: int, rng: np.random.Generator) -> Sequences:
    x = rng.integers(0, task.vocabulary, (2, count, *task.shape), dtype=smallest_type(task.vocabulary))
    y = x if task.is_next else np.broadcast_to(np.arange(count) % task.classes, (2, count)).copy()
    vocabulary, classes = (tuple(map(str, range(size))) for size in (task.vocabulary, task.classes))
    return Sequences("noise", x[0], y[0], x[1], y[1], vocabulary, classes)


def measure(run: Run, images: ImageFootprint, mode: TrainingMode, lanes: int = 1) -> Pace:
    """Train a few steps of `run` and evaluate its network once.

    With several lanes, as many runs like it take turns. The result is the time of each among the others."""
    import torch

    from depthbench.data.batches import Tokens
    from depthbench.machine.device import wait_for
    from depthbench.training.evaluate import batch_size, predict
    from depthbench.training.trainer import Trainer

    device = torch.device(mode.device)

    def seconds(work: Callable[[], Any]) -> float:
        began = time.perf_counter()
        work()
        wait_for(device)
        return time.perf_counter() - began

    pixels = Tokens(images.task).size(images.shape) if images.vocabulary else prod(images.shape[1:])
    size = batch_size(device, pixels)
    noise = random_data(images, max(size, run.recipe.batch_size))
    # On CUDA the first probed step after plain ones is eager and the next is captured. Later ones replay it.
    probed_steps = [PROBED] if device.type == "cpu" else [PROBED, PROBED + 2, PROBED + 4]
    last = probed_steps[-1]
    run = _probed_at(run, probed_steps)

    with contextlib.ExitStack() as open_trainers:
        trainers: list[Trainer] = []

        def start_all() -> None:
            for _ in range(lanes):
                trainer = Trainer(run, noise, mode)
                trainers.append(open_trainers.enter_context(contextlib.closing(trainer)))

        def advance_all() -> None:
            for trainer in trainers:
                trainer.advance()

        build = seconds(start_all)
        times: list[float] = []
        while not _is_enough(times, last):
            times.append(seconds(advance_all))
        trainer, sets = trainers[0], {"test": trainers[0].sets["test"]}
        for _ in range(2):  # the first evaluation also warms up; a slow one needs no second
            evaluation = lanes * seconds(  # the other lanes wait
                lambda: predict(trainer.network, sets, trainer.scaling, precision=run.recipe.precision)
            )
            if evaluation > SECONDS:
                break
        # If steps are slow, only warm-up steps were timed. Warming up is then a small part of their time.
        plain = median(times[last + 1 :] or times[:last][-1:])
        probed = times[last] if run.probe.names and len(times) > last else plain
        return Pace(build, plain, probed, evaluation / len(sets["test"][1]))


def _probed_at(run: Run, steps: list[int]) -> Run:
    """Return `run`, probed at `steps`, evaluated on all images and without scale augmentation.

    Noise is not in files, so decoding and scaling cannot be measured."""
    return run.model_copy(
        update={
            "probe": run.probe.model_copy(update={"steps": steps, "every": None}),
            "evaluate": run.evaluate.model_copy(update={"train_size": None}),
            "recipe": run.recipe.model_copy(update={"augmentation": "crop"}),
        }
    )


def _is_enough(times: list[float], last: int) -> bool:
    """Return whether the seconds of these steps suffice. `last` is the last step of the warm-up."""
    if sum(times) > MOST_SECONDS or len(times) >= MOST_STEPS:
        return True
    return len(times) >= last + 2 and sum(times[last:]) >= SECONDS
