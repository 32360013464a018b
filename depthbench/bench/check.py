"""Check on a GPU, before anything is timed, that captured steps compute the same as eager steps.

Rounding alone makes two trainings differ, and training amplifies this. At the rate of the study, the losses
on a CPU with one and with two threads differ by half after 50 steps. At RATE the losses differ by 1e-4
and the change of the weights by 0.4 %. The tolerances are a few times larger. A step on the wrong batch, at
the wrong rate or without momentum would exceed them by far.

Deeper networks amplify more. With noise of 1e-6 on the gradients, on a CPU, the losses of 8 layers differ by
5e-7 (bf16: 0) and those of 20 layers by 7e-5 (bf16: 2e-3). No network deeper than DEEPEST is compared."""

from dataclasses import dataclass
from typing import Any

import torch

from depthbench.bench import BenchFailed
from depthbench.data.images import Images
from depthbench.study.model import Run
from depthbench.training.mode import TrainingMode
from depthbench.training.trainer import Trainer

STEPS = 50
DEEPEST = 8  # layers
RATE = 1e-4
LOSS_TOLERANCE = 1e-3  # of the loss of any step, relative
CHANGE_TOLERANCE = 0.02  # of the change of all weights over all steps, in the L2 norm, relative


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference between two trainings from one seed, relative to the first. Stored in bench.json."""

    steps: int
    loss: float  # the largest of all steps
    loss_tolerance: float = LOSS_TOLERANCE
    weights: float  # of their change over all steps
    weights_tolerance: float = CHANGE_TOLERANCE

    def __str__(self) -> str:
        return (
            f"after {self.steps} steps from one seed, the relative difference is at most {self.loss:.1e} in "
            f"the losses (tolerated: {self.loss_tolerance:g}) and {self.weights:.1e} in the change of the "
            f"weights (tolerated: {self.weights_tolerance:g})"
        )


def check_captured(run: Run, images: Images, device: torch.device) -> Difference:
    """Train `run` for STEPS steps, eagerly and captured, and return how much they differ.

    Both use the same seed and batches. CUDA only. Raises BenchFailed if they differ by more than is
    tolerated."""
    recipe = run.recipe.model_copy(update={"lr": RATE, "steps": STEPS})
    run = run.model_copy(update={"recipe": recipe})
    modes = (TrainingMode(str(device), step_mode) for step_mode in ("eager", "captured"))
    eager, captured = (Trainer(run, images, mode) for mode in modes)
    difference = compare(_trained(eager), _trained(captured))
    if captured.step_note is not None:
        raise BenchFailed(f"nothing was timed: {captured.step_note}")
    return difference


def compare(one: tuple[list[float], torch.Tensor], other: tuple[list[float], torch.Tensor]) -> Difference:
    """Compare two trainings, each as (losses, change of the weights).

    Return the differences. Raises BenchFailed if they are larger than is tolerated."""
    losses = max(abs(b - a) / abs(a) for a, b in zip(one[0], other[0], strict=True))
    change = ((other[1] - one[1]).norm() / one[1].norm()).item()
    difference = Difference(steps=len(one[0]), loss=losses, weights=change)
    if not (losses <= LOSS_TOLERANCE and change <= CHANGE_TOLERANCE):  # written so that NaN fails
        raise BenchFailed(f"captured steps differ from eager steps, so nothing was timed: {difference}")
    return difference


def _trained(trainer: Trainer) -> tuple[list[float], torch.Tensor]:
    """Return the loss of each step, and the change of all weights, in one row."""
    before = _flat(trainer)
    rows: list[dict[str, Any]] = []
    for _ in range(trainer.run.steps):
        trainer.advance()
        rows += trainer.log() or []  # the last step is evaluated, which fetches all rows
    return [row["loss"] for row in rows], _flat(trainer) - before


def _flat(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().double().flatten().cpu() for p in trainer.network.parameters()])
