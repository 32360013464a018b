"""Test errors over 10 crops: the corners and the centre of each image and of its mirror image, their softmax
scores averaged (Krizhevsky et al. 2012, sec. 4.1, as cited by He et al. 2015, sec. 3.4)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from depthbench.data.batches import Scaling
from depthbench.data.files import Files
from depthbench.training.evaluate import batch_size

TOP = 5
CENTRE = 4  # the place of the centre crop among the 10


@torch.inference_mode()
def ten_crop_errors(
    network: nn.Module,
    x: Files,
    y: Tensor,
    scaling: Scaling,
    precision: str,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, float] | None:
    """Percent of the images x (N, 3, S, S), labelled y (N,), that `network`, in evaluation mode, does not
    call y (`test_error_10crop`), and of those where y is not among its first 5 answers, by the centre crop
    (`test_error_top5`) and by all 10 (`test_error_top5_10crop`); these two only of more than 5 classes.

    None as soon as `should_stop` says so; it is asked between batches. The network is left in the mode it was
    in."""
    training = network.training
    network.eval()
    try:
        device, found = y.device, []
        size = max(1, batch_size(device, x.shape[2:]) // 10)
        for crops, labels in zip(x.ten_crops(size), y.split(size), strict=True):
            if should_stop():
                return None
            images = scaling(crops.to(device).flatten(0, 1)).contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                logits = network(images)  # (10 B, num_classes)
            scores = logits.float().softmax(1).unflatten(0, (-1, 10))  # (B, 10, num_classes)
            mean, centre = scores.mean(1), scores[:, CENTRE]
            counts = {"test_error_10crop": (mean.argmax(1) != labels).sum()}
            if mean.shape[1] > TOP:
                counts["test_error_top5"] = _not_among_first(centre, labels)
                counts["test_error_top5_10crop"] = _not_among_first(mean, labels)
            found.append(counts)
        return {key: 100 * sum(counts[key] for counts in found).item() / len(x) for key in found[0]}
    finally:
        network.train(training)


def chance_errors(classes: int) -> dict[str, float]:
    """The same for guesses, which a diverged run counts as."""
    first = 100 * (1 - 1 / classes)
    if classes <= TOP:
        return {"test_error_10crop": first}
    others = dict.fromkeys(("test_error_top5", "test_error_top5_10crop"), 100 * (1 - TOP / classes))
    return {"test_error_10crop": first} | others


def _not_among_first(scores: Tensor, labels: Tensor) -> Tensor:
    """How many of `labels` (B,) are not among the classes of the 5 highest scores (B, num_classes)."""
    return (scores.topk(TOP, 1).indices != labels[:, None]).all(1).sum()
