"""Errors in evaluation mode, on clean images."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from depthbench.data.batches import Scaling

BATCH = 256  # images at once: more gain nothing on a CPU, where their activations leave the caches


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    sets: Mapping[str, tuple[Tensor, Tensor]],
    scaling: Scaling,
    precision: str,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, float] | None:
    """For each set (x, y), x (N, C, H, W) uint8 and y (N,), the percent of images that `network`, in
    evaluation mode, does not call y. None as soon as `should_stop` says so; it is asked between batches.

    The network is left in the mode it was in. One sync with the device a set."""
    training = network.training
    network.eval()
    try:
        errors = {}
        for name, (x, y) in sets.items():
            wrong = torch.zeros((), dtype=torch.int64, device=x.device)
            for part, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
                if should_stop():
                    return None
                images = scaling(part).contiguous(memory_format=torch.channels_last)
                with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
                    logits = network(images)
                wrong += (logits.argmax(1) != labels).sum()
            errors[name] = 100 * wrong.item() / len(x)
        return errors
    finally:
        network.train(training)
