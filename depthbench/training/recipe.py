"""The recipe at work: the optimiser, and the learning rate of each step."""

import math

import torch
from torch import nn

from depthbench.networks.layers import WEIGHTED
from depthbench.study.model import Recipe


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD, Adam or AdamW over all parameters; weight decay on all, or on weights alone.

    Fused: all parameters in few kernels, which on CUDA can be captured and read the rate from memory."""
    weights = [m.weight for m in network.modules() if isinstance(m, WEIGHTED)]
    ids = {id(p) for p in weights}
    others = [p for p in network.parameters() if id(p) not in ids]
    groups = [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": recipe.weight_decay if recipe.decay_norm else 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    device = groups[0]["params"][0].device
    lr = torch.tensor(recipe.lr, device=device) if device.type == "cuda" else recipe.lr
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True)
    make = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
    optimizer = make(groups, lr, fused=True, capturable=device.type == "cuda")
    optimizer._warned_capturable_if_run_uncaptured = True  # the steps before a capture are eager
    return optimizer


def learning_rate(recipe: Recipe, step: int, holding: bool = False, drops: int = 0) -> float:
    """The rate of update `step` (0 is the first); `holding` while the paper's warm-up rule applies; `drops`:
    how often a plateau has lowered it."""
    scheduled = _scheduled(recipe, step, drops)
    return min(recipe.hold_lr, scheduled) if holding else scheduled  # a warm-up never raises the rate


def _scheduled(recipe: Recipe, step: int, drops: int) -> float:
    warmup = _in_steps(recipe.warmup_steps, recipe.steps) if recipe.warmup == "linear" else 0
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    if recipe.schedule == "plateau":
        return recipe.lr * recipe.gamma**drops
    if recipe.schedule == "step":
        passed = sum(step >= _in_steps(m, recipe.steps) for m in recipe.milestones)
        return recipe.lr * recipe.gamma**passed
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, recipe.steps - warmup)))
    return recipe.lr


def _in_steps(number: float, steps: int) -> int:
    """A number of steps; below 1 it is a fraction of all of them."""
    return round(number * steps) if number < 1 else round(number)
