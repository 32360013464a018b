"""A process that measures the images per second of runs that take turns on one device.

It receives a LaneTask and answers {number of lanes: images per second}."""

import contextlib
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from depthbench.execution.cost.images import ImageFootprint
from depthbench.execution.cost.pace import random_data
from depthbench.study.model import Run
from depthbench.training.mode import TrainingMode

if TYPE_CHECKING:
    import torch

    from depthbench.training.trainer import Trainer

WARM_UP_STEPS = 6  # the first are eager, then graphs are captured
SECONDS = 1.5  # of steps, for each number of lanes


@dataclass(frozen=True)
class LaneTask:
    """The runs to measure."""

    run: Run
    """The run to copy into every lane, without probes."""
    footprint: ImageFootprint
    mode: TrainingMode
    lanes: tuple[int, ...]
    """Numbers of runs that take turns, ascending."""


def measure_rates(task: LaneTask) -> dict[int, float]:
    """Return the images per second of all runs together, by the number of runs that take turns."""
    import torch

    from depthbench.training.trainer import Trainer

    device = torch.device(task.mode.device)
    mode = replace(task.mode, is_streamed=None)  # the noise is in memory, wherever the study's images are
    run = task.run.model_copy(update={"probe": task.run.probe.model_copy(update={"names": []})})
    run = run.model_copy(update={"evaluate": run.evaluate.model_copy(update={"train_size": None})})
    images = random_data(task.footprint, max(1024, run.recipe.batch_size))
    trainers: list[Trainer] = []
    rates = {}
    with contextlib.ExitStack() as open_trainers:
        for lanes in task.lanes:
            while len(trainers) < lanes:
                trainer = Trainer(run, images, mode)
                trainers.append(open_trainers.enter_context(contextlib.closing(trainer)))
                for _ in range(WARM_UP_STEPS):
                    trainer.advance()
            rates[lanes] = _rate(trainers, device)
    return rates


def _rate(trainers: "list[Trainer]", device: "torch.device") -> float:
    from depthbench.machine.device import wait_for

    wait_for(device)
    began, rounds = time.perf_counter(), 0
    while rounds < 2 or time.perf_counter() - began < SECONDS:
        for trainer in trainers:
            trainer.advance()
        rounds += 1
        if rounds % 16 == 0:
            wait_for(device)  # otherwise the host would be far ahead when the time is up
    wait_for(device)
    images = rounds * len(trainers) * trainers[0].run.recipe.batch_size
    return images / (time.perf_counter() - began)


def main(connection: Connection) -> None:
    """Answer the parent's LaneTask."""
    connection.send(measure_rates(connection.recv()))
