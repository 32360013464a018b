"""The predictions of a network in evaluation mode, and their errors."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from depthbench.data.batches import Scaling
from depthbench.data.pixels import Pixels

# Images in a batch. On a CPU larger batches are not faster, because their activations leave the caches. A GPU
# needs large batches to use all its units.
BATCH = {"cpu": 256, "cuda": 2048, "mps": 256}


def batch_size(device: torch.device, pixels: tuple[int, ...]) -> int:
    """Return the number of images of `pixels` = (H, W) in a batch. Larger images make smaller batches."""
    most, area = BATCH[device.type], pixels[0] * pixels[1]
    return max(1, min(most, most * 32 * 32 // area))


@torch.inference_mode()
def predict(
    network: nn.Module,
    sets: Mapping[str, tuple[Pixels, Tensor]],
    scaling: Scaling,
    *,
    precision: str,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Tensor] | None:
    """Return the classes (N,) int64 that `network` predicts in evaluation mode for each set, by name.

    A set is (x, y): images (N, C, H, W) uint8 and labels (N,). y and the result are on the network's device.
    x may be on the host, and is then moved batch by batch. Returns None once `should_stop`, which is called
    between batches, is true. The network is left in the mode it was in. Does not wait for the device."""
    training = network.training
    network.eval()
    try:
        predicted = {}
        for name, (x, y) in sets.items():
            device, classes = y.device, []
            for part in x.split(batch_size(device, x.shape[2:])):
                if should_stop():
                    return None
                part = part.to(device, non_blocking=True)  # waits if x is not pinned
                images = scaling(part).contiguous(memory_format=torch.channels_last)
                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                    logits = network(images)
                classes.append(logits.argmax(1))
            predicted[name] = torch.cat(classes)
        return predicted
    finally:
        network.train(training)


def percent_wrong(predicted: Tensor, y: Tensor) -> float:
    """Return the percentage of predictions that differ from the labels y (N,). Waits for the device."""
    return 100 * (predicted != y).sum().item() / len(y)
