"""On a GPU, before anything is timed: the captured step computes what the eager step does.

Rounding alone sets two trainings apart, and training magnifies it: at the rate of the study a loss differs by
half after 50 steps on a CPU with one thread and with two. At RATE it differs by 1e-4 and the way that the
weights have gone by 0.4 %. The tolerances are some times that, and far below what a step on the wrong batch,
at the wrong rate or without its momentum would do. Deeper networks magnify more: gradients with noise of 1e-6
on a CPU set the losses of 8 layers apart by 5e-7 (bf16: 0), of 20 by 7e-5 (2e-3), so none deeper than DEEPEST
is compared."""

from typing import Any

import torch

from depthbench.bench import BenchFailed
from depthbench.data.images import Images
from depthbench.study.model import Run
from depthbench.training.mode import TrainingMode
from depthbench.training.trainer import Trainer

STEPS = 50
DEEPEST = 8  # layers, of the networks that are compared
RATE = 1e-4
LOSS_TOLERANCE = 1e-3  # of the loss of any step, relative
WAY_TOLERANCE = 0.02  # of the change of all weights over all steps, in the L2 norm, relative


def check_captured(run: Run, images: Images, device: torch.device) -> dict[str, Any]:
    """Train `run` for STEPS steps eagerly and captured, from one seed, on the same batches, and say how far
    apart they are. CUDA only. Raises BenchFailed where that is more than is tolerated."""
    recipe = run.recipe.model_copy(update={"lr": RATE, "steps": STEPS})
    run = run.model_copy(update={"recipe": recipe})
    modes = (TrainingMode(str(device), step_mode) for step_mode in ("eager", "captured"))
    eager, captured = (Trainer(run, images, mode) for mode in modes)
    found = compare(_trained(eager), _trained(captured))
    if captured.step_note is not None:
        raise BenchFailed(f"{captured.step_note}; nothing was timed")
    return found


def compare(one: tuple[list[float], torch.Tensor], other: tuple[list[float], torch.Tensor]) -> dict[str, Any]:
    """Two trainings as (losses, change of the weights): how far apart they are. Raises BenchFailed."""
    losses = max(abs(b - a) / abs(a) for a, b in zip(one[0], other[0], strict=True))
    way = ((other[1] - one[1]).norm() / one[1].norm()).item()
    found = {"steps": len(one[0]), "loss": losses, "loss_tolerance": LOSS_TOLERANCE}
    found |= {"weights": way, "weights_tolerance": WAY_TOLERANCE}
    if not (losses <= LOSS_TOLERANCE and way <= WAY_TOLERANCE):  # so that NaN is a difference too
        raise BenchFailed(f"the captured step is not the eager step: {describe(found)}; nothing was timed")
    return found


def describe(found: dict[str, Any]) -> str:
    """The outcome in words."""
    return (
        f"after {found['steps']} steps from one seed, losses differ by at most {found['loss']:.1e} "
        f"(tolerated: {found['loss_tolerance']:g}) and the change of the weights by {found['weights']:.1e} "
        f"(tolerated: {found['weights_tolerance']:g}), both relative"
    )


def _trained(trainer: Trainer) -> tuple[list[float], torch.Tensor]:
    """The loss of each step, and how all weights (in one row) have changed."""
    before, rows = _flat(trainer), []
    for _ in range(trainer.run.steps):
        trainer.advance()
        rows += trainer.log()  # all that wait on the device come with the last step, which is evaluated
    return [row["loss"] for row in rows], _flat(trainer) - before


def _flat(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().double().flatten().cpu() for p in trainer.network.parameters()])
