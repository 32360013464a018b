"""On a GPU, before anything is timed: the captured step computes what the eager step does.

Rounding alone sets two trainings apart, and training magnifies it: at the rate of the study a loss differs by
half after 50 steps on a CPU with one thread and with two. At RATE it differs by 1e-4 and the way that the
weights have gone by 0.4 %. The tolerances are some times that, and far below what a step on the wrong batch,
at the wrong rate or without its momentum would do. Sums of a GPU may round differently each time, and deeper
networks magnify more: so the eager step is also compared with itself, and what it differs by is tolerated
SPREAD times over, up to MOST times the tolerances; and no network deeper than DEEPEST is compared."""

from typing import Any

import torch

from depthbench.bench import BenchFailed
from depthbench.data.images import Images
from depthbench.study import Run
from depthbench.training.trainer import Trainer

STEPS = 50
DEEPEST = 20  # layers
RATE = 1e-4
TOLERANCES = {
    "loss": 1e-3,  # of any step, relative
    "weights": 0.02,  # the change of all weights over all steps, in the L2 norm, relative
}
SPREAD, MOST = 3, 10

Training = tuple[list[float], torch.Tensor]  # the loss of each step, and how all weights have changed


def check_captured(run: Run, images: Images, device: torch.device) -> dict[str, Any]:
    """Train `run` for STEPS steps eagerly, eagerly once more, and captured, from one seed, on the same
    batches, and say how far apart they are. CUDA only. Raises BenchFailed where that is more than is
    tolerated."""
    recipe = run.recipe.model_copy(update={"lr": RATE, "steps": STEPS})
    run = run.model_copy(update={"recipe": recipe})
    eager, again, captured = (Trainer(run, images, device, step=s) for s in ("eager", "eager", "captured"))
    found = compare(_trained(eager), _trained(again), _trained(captured))
    if captured.step_note is not None:
        raise BenchFailed(f"{captured.step_note}; nothing was timed")
    return found


def compare(eager: Training, again: Training, captured: Training) -> dict[str, Any]:
    """How far apart the captured training and the eager one are, which was made twice. Raises BenchFailed."""
    own, apart = _apart(eager, again), _apart(eager, captured)
    found: dict[str, Any] = {"steps": len(eager[0])}
    for what, least in TOLERANCES.items():
        tolerance = min(MOST * least, max(least, SPREAD * own[what]))
        found |= {what: apart[what], f"{what}_eager": own[what], f"{what}_tolerance": tolerance}
    # so worded that NaN is a difference too
    if not all(found[what] <= found[f"{what}_tolerance"] for what in TOLERANCES):
        raise BenchFailed(f"the captured step is not the eager step: {describe(found)}; nothing was timed")
    return found


def _apart(one: Training, other: Training) -> dict[str, float]:
    return {
        "loss": max(abs(b - a) / abs(a) for a, b in zip(one[0], other[0], strict=True)),
        "weights": ((other[1] - one[1]).norm() / one[1].norm()).item(),
    }


def describe(found: dict[str, Any]) -> str:
    """The outcome in words."""
    return (
        f"after {found['steps']} steps from one seed, losses differ by at most {found['loss']:.1e} "
        f"(tolerated: {found['loss_tolerance']:.1e}) and the change of the weights by {found['weights']:.1e} "
        f"(tolerated: {found['weights_tolerance']:.1e}), both relative; eager steps made twice differ by "
        f"{found['loss_eager']:.1e} and {found['weights_eager']:.1e}"
    )


def _trained(trainer: Trainer) -> Training:
    before, rows = _flat(trainer), []
    for _ in range(trainer.run.steps):
        trainer.advance()
        rows += trainer.log()  # all that wait on the device come with the last step, which is evaluated
    return [row["loss"] for row in rows], _flat(trainer) - before


def _flat(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().double().flatten().cpu() for p in trainer.network.parameters()])
