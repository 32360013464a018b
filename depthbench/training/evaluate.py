"""Errors in evaluation mode, on clean images."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from depthbench.data.batches import Scaling
from depthbench.data.place import Pixels

# Images at once. More gain nothing on a CPU, where their activations leave the caches; a GPU has units that
# fewer would leave idle, and the same launches to make for few as for many.
BATCH = {"cpu": 256, "cuda": 2048, "mps": 256}


def batch_size(device: torch.device, pixels: tuple[int, int]) -> int:
    """How many images of H x W pixels are evaluated at once: fewer of larger ones."""
    most, area = BATCH[device.type], pixels[0] * pixels[1]
    return max(1, min(most, most * 32 * 32 // area))


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    sets: Mapping[str, tuple[Pixels, Tensor]],
    scaling: Scaling,
    precision: str,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, float] | None:
    """For each set (x, y), x (N, C, H, W) uint8 and y (N,), the percent of images that `network`, in
    evaluation mode, does not call y. y is on the network's device; x there or on the host, from where it is
    moved batch by batch. None as soon as `should_stop` says so; it is asked between batches.

    The network is left in the mode it was in. One sync with the device a set."""
    training = network.training
    network.eval()
    try:
        errors = {}
        for name, (x, y) in sets.items():
            device = y.device
            wrong = torch.zeros((), dtype=torch.int64, device=device)
            size = batch_size(device, x.shape[2:])
            for part, labels in zip(x.split(size), y.split(size), strict=True):
                if should_stop():
                    return None
                part = part.to(device, non_blocking=True)  # waits where it is not pinned
                images = scaling(part).contiguous(memory_format=torch.channels_last)
                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                    logits = network(images)
                wrong += (logits.argmax(1) != labels).sum()
            errors[name] = 100 * wrong.item() / len(x)
        return errors
    finally:
        network.train(training)
