"""One update: forward, backward, probes, optimiser. Sums stay on the device until they are asked for."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.precision import widest_float
from depthbench.probes.recorder import Recorder
from depthbench.study import Recipe


class Step:
    """Updates `network` batch by batch, and adds up loss and errors on the device.

    `precision` applies to the forward pass: bf16 is autocast, whose gradients need no scaling."""

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        recorder: Recorder,
        device: torch.device,
    ):
        self.network, self.optimizer, self.recipe, self.recorder = network, optimizer, recipe, recorder
        self.device = device
        self.parameters = list(network.parameters())
        self.sums = torch.zeros(3, dtype=widest_float(device), device=device)  # loss, wrong answers, images

    def __call__(self, x: Tensor, y: Tensor, lr: float, probed: bool) -> Tensor | None:
        """Make one update on x (B, C, H, W), y (B,). The probes' values (layers, probes) if `probed`."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        if not probed:
            self._differentiate(x, y)
            values = None
        else:
            with self.recorder:
                self._differentiate(x, y)
                values = self.recorder.values()  # before L1 and clipping: the gradient of the loss itself
        self._update()
        return values

    def _differentiate(self, x: Tensor, y: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        bf16 = self.recipe.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            logits = self.network(x)  # (B, num_classes)
        loss = F.cross_entropy(logits.float(), y, label_smoothing=self.recipe.label_smoothing)
        loss.backward()
        with torch.no_grad():
            wrong = (logits.argmax(1) != y).sum()
            dtype = self.sums.dtype
            images = torch.full((), len(y), dtype=dtype, device=y.device)
            self.sums += torch.stack([loss.detach().to(dtype) * images, wrong.to(dtype), images])

    def _update(self) -> None:
        if self.recipe.l1:
            for parameter in self.parameters:
                if parameter.grad is not None:
                    parameter.grad.add_(parameter.detach().sign(), alpha=self.recipe.l1)
        if self.recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_norm)
        self.optimizer.step()

    def take_sums(self) -> tuple[float, float]:
        """Mean loss and on-the-fly train error (%) since the last call. One sync with the device."""
        loss, wrong, images = self.sums.tolist()
        self.sums.zero_()
        return (loss / images, 100 * wrong / images) if images else (float("nan"), float("nan"))
