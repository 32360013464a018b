"""A process that sees how many images a second runs train that take turns on one device.

It is told (Run, ImageFootprint, device, step, recompute, [numbers of lanes, ascending]) and tells {lanes:
images a second}."""

import contextlib
import time

from depthbench.execution.cost.images import ImageFootprint
from depthbench.execution.cost.pace import random_images
from depthbench.execution.process import connect_to_parent
from depthbench.study.model import Run
from depthbench.training.mode import TrainingMode

WARM_UP = 6  # steps: the first are eager, then graphs are captured
SECONDS = 1.5  # of steps, for each number of lanes


def rates(
    run: Run, sizes: ImageFootprint, device: str, step: str, recompute: bool, counts: list[int]
) -> dict[int, float]:
    """Images a second in all, by the number of runs that take turns. Every run is like `run`, unprobed."""
    import torch

    from depthbench.training.trainer import Trainer

    where = torch.device(device)
    mode = TrainingMode(device=device, step_mode=step, recompute=recompute)
    run = run.model_copy(update={"probe": run.probe.model_copy(update={"names": []})})
    run = run.model_copy(update={"evaluate": run.evaluate.model_copy(update={"train_size": None})})
    images = random_images(sizes, max(1024, run.recipe.batch_size))
    trainers: list[Trainer] = []
    found = {}
    with contextlib.ExitStack() as open_trainers:
        for count in counts:
            while len(trainers) < count:
                trainer = Trainer(run, images, mode)
                trainers.append(open_trainers.enter_context(contextlib.closing(trainer)))
                for _ in range(WARM_UP):
                    trainer.advance()
            found[count] = _rate(trainers, where)
    return found


def _rate(trainers: list, device) -> float:
    from depthbench.machine.device import wait_for

    wait_for(device)
    began, rounds = time.perf_counter(), 0
    while rounds < 2 or time.perf_counter() - began < SECONDS:
        for trainer in trainers:
            trainer.advance()
        rounds += 1
        if rounds % 16 == 0:
            wait_for(device)  # or the host would be far ahead when the time is up
    wait_for(device)
    images = rounds * len(trainers) * trainers[0].run.recipe.batch_size
    return images / (time.perf_counter() - began)


if __name__ == "__main__":
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        connection = connect_to_parent()
        connection.send(rates(*connection.recv()))
