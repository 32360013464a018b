"""Test errors over 10 crops: the four corners and the centre of each image and of its mirror image.

The softmax scores of the crops are averaged (Krizhevsky et al. 2012, sec. 4.1, as cited by He et al. 2015,
sec. 3.4)."""

import torch
from torch import Tensor

from depthbench.data.files import Files
from depthbench.data.images import chance_error
from depthbench.networks.outputs import logits_of
from depthbench.study.model import Run
from depthbench.training.evaluate import Dealt, batch_size
from depthbench.training.final_evaluations.evaluation import (
    FinalEvaluation,
    Notify,
    Outcome,
    ShouldStop,
    TrainedNetwork,
)

TOP = 5
CROPS = 10
CENTRE = 4  # index of the centre crop


@torch.inference_mode()
def evaluate(trained: TrainedNetwork, should_stop: ShouldStop, notify: Notify) -> Outcome | None:
    """Return the test errors (percent) of the centre crop and of all 10 crops. The images must be `Files`.

    `test_error_10crop` is the top-1 error over all 10 crops, `test_error_top5` is the top-5 error of the
    centre crop, and `test_error_top5_10crop` is the top-5 error over all 10 crops. The top-5 errors are
    measured only with more than 5 classes. The network is left in the mode it was in."""
    notify("10 crops of the test images")
    network, x = trained.network, trained.x
    assert isinstance(x, Files)  # Study.checked refuses other images
    is_training = network.training
    network.eval()
    try:
        wrong = _count_wrong(trained, x, should_stop)
    finally:
        network.train(is_training)
    if wrong is None:
        return None
    return Outcome({name: 100 * count.item() / len(x) for name, count in wrong.items()})


def _count_wrong(trained: TrainedNetwork, x: Files, should_stop: ShouldStop) -> dict[str, Tensor] | None:
    """Return the number of wrong answers for each error, on the device."""
    device = trained.y.device
    size = max(1, batch_size(device, trained.scaling.size(x.shape)) // CROPS)
    top_5 = ("test_error_top5", "test_error_top5_10crop") if trained.classes > TOP else ()
    none = torch.zeros((), dtype=torch.int64, device=device)
    wrong = dict.fromkeys(("test_error_10crop", *top_5), none)
    dealt = Dealt(len(x), size, trained.team)
    batches = dealt.rounds_of(dealt.mine(x).ten_crops(size))
    for crops, labels in zip(batches, dealt.batches(trained.y), strict=True):
        if should_stop():
            return None
        if crops is None or labels is None:
            continue
        images = trained.scaling.arrange(trained.scaling(crops.to(device).flatten(0, 1)))
        with torch.autocast(device.type, torch.bfloat16, enabled=trained.precision == "bf16"):
            logits = logits_of(trained.network(images))  # (CROPS * B, classes)
        scores = logits.float().softmax(1).unflatten(0, (-1, CROPS))  # (B, CROPS, classes)
        mean, centre = scores.mean(1), scores[:, CENTRE]
        counts = {"test_error_10crop": (mean.argmax(1) != labels).sum()}
        if trained.classes > TOP:
            counts["test_error_top5"] = _outside_top(centre, labels)
            counts["test_error_top5_10crop"] = _outside_top(mean, labels)
        wrong = {name: wrong[name] + count for name, count in counts.items()}
    return {name: trained.team.sum(count) for name, count in wrong.items()}


def _outside_top(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the number of `labels` (B,) that are not among the 5 classes with the highest scores.

    scores: (B, classes)."""
    return (scores.topk(TOP, 1).indices != labels[:, None]).all(1).sum()


def at_chance(run: Run, classes: int) -> Outcome:
    """Return the same errors for a network that guesses."""
    top_5 = dict.fromkeys(("test_error_top5", "test_error_top5_10crop"), chance_error(classes, TOP))
    return Outcome({"test_error_10crop": chance_error(classes)} | (top_5 if classes > TOP else {}))


EVALUATION = FinalEvaluation(
    applies=lambda run: run.evaluate.ten_crop,
    evaluate=evaluate,
    at_chance=at_chance,
    passes=lambda run: CROPS,
)
