"""How fast a run goes: a few real steps of it on random images, and one evaluation."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from depthbench.data.images import Images
from depthbench.execution.cost.images import ImageFootprint
from depthbench.study.model import Run
from depthbench.training.mode import TrainingMode

SECONDS = 1.0  # of steps, once there are enough of them to tell
LONG = 15.0  # of steps, after which those that were made must do
MOST_STEPS = 200
PROBED = 3  # the step that is probed; those before it warm up


@dataclass(frozen=True)
class Pace:
    """Seconds that parts of a run take."""

    build: float  # until the first step
    step: float
    probed_step: float
    evaluation: float  # of one image

    def of(self, run: Run, evaluated: int) -> float:
        """Seconds of `run`, every evaluation of which takes so many images."""
        probed = sum(run.is_probed(step) for step in range(run.steps))
        evaluations = -(-run.steps // run.evaluate.every)  # the last step is always evaluated
        steps = (run.steps - probed) * self.step + probed * self.probed_step
        return self.build + steps + evaluations * evaluated * self.evaluation


def random_images(sizes: ImageFootprint, count: int) -> Images:
    """So many training images and test images of noise."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, count, *sizes.shape), dtype=np.uint8)
    y = np.arange(count) % sizes.classes
    classes = tuple(map(str, range(sizes.classes)))
    return Images("noise", x[0], y, x[1], y, classes, flips=False)


def measure(
    run: Run, sizes: ImageFootprint, device: str, recompute: bool, step: str = "auto", lanes: int = 1
) -> Pace:
    """Train a few steps of `run` and evaluate its network once. lanes: so many runs like it take turns, and
    what is told is how long each takes beside the others."""
    import torch

    from depthbench.machine.device import wait_for
    from depthbench.training.evaluate import batch_size, predict
    from depthbench.training.trainer import Trainer

    where = torch.device(device)
    mode = TrainingMode(device=device, step_mode=step, recompute=recompute)

    def seconds(work: Callable[[], Any]) -> float:
        began = time.perf_counter()
        work()
        wait_for(where)
        return time.perf_counter() - began

    size = batch_size(where, sizes.shape[1:])
    images = random_images(sizes, max(size, run.recipe.batch_size))
    # On CUDA the first probed step after plain ones is eager, the next is captured: later ones replay it.
    probed_steps = [PROBED] if where.type == "cpu" else [PROBED, PROBED + 2, PROBED + 4]
    last = probed_steps[-1]
    # a probe in the middle, and all images in an evaluation: their numbers are known, their times are not
    probe = run.probe.model_copy(update={"steps": probed_steps, "every": None})
    whole = run.evaluate.model_copy(update={"train_size": None})
    # noise is in no file: what it costs to decode and scale images is not measured
    recipe = run.recipe.model_copy(update={"augmentation": "crop"})
    run = run.model_copy(update={"probe": probe, "evaluate": whole, "recipe": recipe})

    with contextlib.ExitStack() as open_trainers:
        trainers: list[Trainer] = []

        def start_all() -> None:
            for _ in range(lanes):
                trainer = Trainer(run, images, mode)
                trainers.append(open_trainers.enter_context(contextlib.closing(trainer)))

        def advance_all() -> None:
            for trainer in trainers:
                trainer.advance()

        build = seconds(start_all)
        took: list[float] = []
        while not _is_enough(took, last):
            took.append(seconds(advance_all))
        trainer = trainers[0]
        x, y = trainer.sets["test"]
        for _ in range(2):  # the first also makes what later ones reuse; slow ones need no second
            evaluation = lanes * seconds(  # the others wait
                lambda: predict(trainer.network, {"test": (x, y)}, trainer.scaling, run.recipe.precision)
            )
            if evaluation > SECONDS:
                break
        plain = median(took[last + 1 :] or took[:last][-1:])  # of slow steps, to warm up is a small part
        probed = took[last] if run.probe.names and len(took) > last else plain
        return Pace(build, plain, probed, evaluation / len(y))


def _is_enough(took: list[float], last: int) -> bool:
    """Whether steps that took so many seconds tell how long one takes; `last` is the last that warms up."""
    if sum(took) > LONG or len(took) >= MOST_STEPS:
        return True
    return len(took) >= last + 2 and sum(took[last:]) >= SECONDS
