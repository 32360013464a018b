"""Errors in evaluation mode, on clean images."""

import torch
from torch import Tensor, nn

from depthbench.data.batches import Scaling

BATCH = 512


@torch.inference_mode()
def error(network: nn.Module, x: Tensor, y: Tensor, scaling: Scaling, precision: str) -> float:
    """Percent of images x (N, C, H, W uint8) that `network`, in evaluation mode, does not call y (N,).

    The network is left in the mode it was in."""
    training = network.training
    network.eval()
    wrong = torch.zeros((), dtype=torch.int64, device=x.device)
    for part, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
        images = scaling(part).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = network(images)
        wrong += (logits.argmax(1) != labels).sum()
    network.train(training)
    return 100 * wrong.item() / len(x)
