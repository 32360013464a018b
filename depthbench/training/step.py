"""One update: images, forward, backward, probes, optimiser. Nothing in it waits for the device."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.data.batches import Batch
from depthbench.machine.precision import widest_float
from depthbench.probes.recorder import Recorder
from depthbench.study.model import Recipe


class Step:
    """Updates `network` batch by batch, and adds up loss and errors on the device.

    `images` makes x (B, C, H, W) and y (B,) of a batch. `precision` applies to the forward pass: bf16 is
    autocast, whose gradients need no scaling."""

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        recorder: Recorder,
        images: Callable[[Batch], tuple[Tensor, Tensor]],
        device: torch.device,
    ):
        self.network, self.optimizer, self.recipe, self.recorder = network, optimizer, recipe, recorder
        self.images, self.device = images, device
        self.parameters = list(network.parameters())
        self.sums = torch.zeros(3, dtype=widest_float(device), device=device)  # loss, wrong answers, images

    def __call__(self, batch: Batch, lr: float, probed: bool) -> Tensor | None:
        """Make one update at rate `lr`. The probes' values (layers, probes) if `probed`."""
        self.set_rate(lr)
        return self.update(batch, probed)

    def set_rate(self, lr: float) -> None:
        """The rate of the next update. On a GPU it is a number in its memory, which a captured step reads."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr

    def update(self, batch: Batch, probed: bool) -> Tensor | None:
        """The part of a step that happens on the device, the same every time: it can be captured."""
        if not probed:
            self._differentiate(batch)
            values = None
        else:
            with self.recorder:
                self._differentiate(batch)
                values = self.recorder.values()  # before L1 and clipping: the gradient of the loss itself
        self._descend()
        return values

    def _differentiate(self, batch: Batch) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        x, y = self.images(batch)
        bf16 = self.recipe.precision == "bf16"
        # each weight is cast once a pass: a cache of casts would only outlive a capture
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16, cache_enabled=False):
            logits = self.network(x)  # (B, num_classes)
        loss = F.cross_entropy(logits.float(), y, label_smoothing=self.recipe.label_smoothing)
        loss.backward()
        with torch.no_grad():
            wrong = (logits.argmax(1) != y).sum()
            dtype = self.sums.dtype
            images = torch.full((), len(y), dtype=dtype, device=y.device)
            self.sums += torch.stack([loss.detach().to(dtype) * images, wrong.to(dtype), images])

    def _descend(self) -> None:
        if self.recipe.l1:
            for parameter in self.parameters:
                if parameter.grad is not None:
                    parameter.grad.add_(parameter.detach().sign(), alpha=self.recipe.l1)
        if self.recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_norm)
        self.optimizer.step()

    def take_sums(self) -> Tensor:
        """(3,) on the device: loss x images, wrong answers, images since the last call; see `means`."""
        sums = self.sums.clone()
        self.sums.zero_()
        return sums


def means(sums: list[float]) -> tuple[float, float]:
    """Mean loss and on-the-fly train error (%) of the sums that `take_sums` gave; NaN of no images."""
    loss, wrong, images = sums
    return (loss / images, 100 * wrong / images) if images else (float("nan"), float("nan"))
