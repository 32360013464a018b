"""One update: images, forward pass, backward pass, probes, optimiser. Nothing waits for the device."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.data.batches import Batch
from depthbench.machine.precision import widest_float
from depthbench.networks.outputs import logits_of
from depthbench.probes.recorder import Recorder
from depthbench.training.settings import Recipe
from depthbench.training.team import ALONE, Team


class Step:
    """The updates of `network`, batch by batch, and sums of losses and errors, all on the device.

    `images` turns a batch into x and y: images (B, C, H, W) and classes (B,), or tokens (B, T) and classes
    (B,) or next tokens (B, T). The recipe's precision applies to the forward pass. bf16 uses autocast, and
    its gradients need no scaling. Each rank of `team` has a part of each batch, and the backward pass of
    `network` averages gradients over the ranks. Everything that is sent is sent before the parameters change.
    class_weights: (classes,) float32 on the device, or None."""

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        *,
        recorder: Recorder,
        images: Callable[[Batch], tuple[Tensor, Tensor]],
        device: torch.device,
        class_weights: Tensor | None = None,
        team: Team = ALONE,
    ):
        self.network, self.optimizer, self.recipe, self.recorder = network, optimizer, recipe, recorder
        self.images, self.device = images, device
        self.class_weights = class_weights
        self.team, self.weight = team, team.weight(recipe.batch_size)
        self.parameters = list(network.parameters())
        self.sums = torch.zeros(3, dtype=widest_float(device), device=device)  # loss, wrong answers, answers

    def __call__(self, batch: Batch, lr: float, probed: bool, keeps: bool = False) -> Tensor | None:
        """Make one update at rate `lr`. Return the values of the probes (rows, probes) if `probed`.

        keeps: whether to keep the gradients for the probes of the next step."""
        self.set_rate(lr)
        return self.update(batch, probed, keeps)

    def set_rate(self, lr: float) -> None:
        """Set the rate of the next update. On a GPU it is a tensor, which a captured step reads.

        A parameter group can have a factor of the rate, `lr_scale`."""
        for group in self.optimizer.param_groups:
            own = lr * group.get("lr_scale", 1.0)
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(own)
            else:
                group["lr"] = own

    def update(self, batch: Batch, probed: bool, keeps: bool = False) -> Tensor | None:
        """Make the part of an update that can be captured.

        Its operations are the same in all steps with the same `probed` and `keeps`."""
        values = None
        with self.recorder if probed else self.recorder.preparing() if keeps else nullcontext():
            self._differentiate(batch)
            if probed:
                values = self.recorder.values()  # before L1 and clipping change the gradients
            if keeps:
                self.recorder.keep_gradients()  # last, when gradients of all processes have arrived
        self._descend()
        return None if values is None else self.recorder.with_updates(values)

    def _differentiate(self, batch: Batch) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        x, y = self.images(batch)
        bf16 = self.recipe.precision == "bf16"
        # no cache of casts: each weight is cast once in a pass anyway, and a cache would outlive the capture
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16, cache_enabled=False):
            logits = logits_of(self.network(x))  # (B, num_classes), or (B, T, num_classes) for next tokens
        logits, y = logits.flatten(0, -2), y.flatten()  # each token is an answer of its own
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        weights = None if self.class_weights is None else self.class_weights.to(logits.dtype)
        loss = F.cross_entropy(logits, y, weight=weights, label_smoothing=self.recipe.label_smoothing)
        share: float | Tensor = self.weight
        if weights is not None and not self.team.is_alone:
            own = weights[y].sum()
            share = own / self.team.sum(own) * self.team.size
        (loss if self.team.is_alone else loss * share).backward()
        with torch.no_grad():
            wrong = (logits.argmax(1) != y).sum()
            dtype = self.sums.dtype
            answers = torch.full((), len(y), dtype=dtype, device=y.device)
            total = loss.detach().to(dtype) * answers
            if weights is not None:
                total *= share / self.weight  # the weighted mean of the whole batch counts for each answer
            self.sums += self.team.sum(torch.stack([total, wrong.to(dtype), answers]))

    def _descend(self) -> None:
        if self.recipe.l1:
            for group in self.optimizer.param_groups:
                l1 = self.recipe.l1 * group.get("l1_scale", 1.0)
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.grad.add_(parameter.detach().sign(), alpha=l1)
        if self.recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_norm)
        self.optimizer.step()

    def take_sums(self) -> Tensor:
        """Return sums over the answers since the last call, (3,) on the device. `means` reads them.

        They are the sum of losses, the number of wrong answers and the number of answers: one for each image
        or sequence, or for each token that is predicted."""
        sums = self.sums.clone()
        self.sums.zero_()
        return sums


def means(sums: list[float]) -> tuple[float, float]:
    """Return the mean loss and train error (percent) of the sums of `take_sums`. NaN without answers."""
    loss, wrong, answers = sums
    return (loss / answers, 100 * wrong / answers) if answers else (float("nan"), float("nan"))
