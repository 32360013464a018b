"""What a network calls images in evaluation mode, and the errors that this makes."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from depthbench.data.batches import Scaling
from depthbench.data.pixels import Pixels

# Images at once. More gain nothing on a CPU, where their activations leave the caches; a GPU has units that
# fewer would leave idle, and the same launches to make for few as for many.
BATCH = {"cpu": 256, "cuda": 2048, "mps": 256}


def batch_size(device: torch.device, pixels: tuple[int, int]) -> int:
    """How many images of H x W pixels are evaluated at once: fewer of larger ones."""
    most, area = BATCH[device.type], pixels[0] * pixels[1]
    return max(1, min(most, most * 32 * 32 // area))


@torch.inference_mode()
def predict(
    network: nn.Module,
    sets: Mapping[str, tuple[Pixels, Tensor]],
    scaling: Scaling,
    precision: str,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Tensor] | None:
    """For each set (x, y), x (N, C, H, W) uint8 and y (N,), the classes (N,) int64 that `network`, in
    evaluation mode, puts its images into, on y's device. That is the network's; x is there or on the host,
    from where it is moved batch by batch. None as soon as `should_stop` says so; it is asked between batches.

    The network is left in the mode it was in. The device is not waited for."""
    training = network.training
    network.eval()
    try:
        predicted = {}
        for name, (x, y) in sets.items():
            device, called = y.device, []
            for part in x.split(batch_size(device, x.shape[2:])):
                if should_stop():
                    return None
                part = part.to(device, non_blocking=True)  # waits where it is not pinned
                images = scaling(part).contiguous(memory_format=torch.channels_last)
                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                    logits = network(images)
                called.append(logits.argmax(1))
            predicted[name] = torch.cat(called)
        return predicted
    finally:
        network.train(training)


def percent_wrong(predicted: Tensor, y: Tensor) -> float:
    """The percent of images, labelled y (N,), that are called something else. Waits for the device."""
    return 100 * (predicted != y).sum().item() / len(y)
