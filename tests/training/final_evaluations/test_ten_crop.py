import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from depthbench.data.batches import Scaling
from depthbench.data.load import load_images
from depthbench.data.settings import Data
from depthbench.study.model import Run
from depthbench.training import evaluate
from depthbench.training.final_evaluations.evaluation import TrainedNetwork
from depthbench.training.final_evaluations.ten_crop import EVALUATION
from tests.data.photographs import write_photographs

CPU = torch.device("cpu")
SIDE = 28
RUN = Run(network="plain_imagenet", depth=18, seed=0)


def network(classes):
    """Return a linear map of all pixels of a crop. In training mode dropout removes them all."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Dropout(1.0), nn.Linear(3 * SIDE**2, classes)).train()


def prepare(root, classes):
    """Return a network and its test images in files."""
    write_photographs(root, {"train": 2, "val": 5}, classes, kind="png")
    images = load_images(Data(path=str(root), decode="as_read", image_size=SIDE), root)
    return TrainedNetwork(
        run=RUN,
        network=network(classes),
        x=images.test_x,
        y=torch.from_numpy(images.test_y),
        predicted=torch.zeros(len(images.test_y), dtype=torch.int64),
        classes=classes,
        white=images.white,
        scaling=Scaling(np.asarray(images.train_x), "pixel", CPU),
    )


@pytest.mark.parametrize("classes", [3, 8])
def test_errors_equal_those_by_hand_with_torchvisions_crops(tmp_path, monkeypatch, classes):
    monkeypatch.setitem(evaluate.BATCH, "cpu", 30)  # three images per batch, fewer in the last
    trained = prepare(tmp_path, classes)
    model, y = trained.network, trained.y
    errors = EVALUATION.evaluate(trained, lambda: False, print).numbers
    assert model.training

    crops = v2.Compose(
        [
            v2.Resize(32),
            v2.TenCrop(SIDE),
            lambda crops: torch.stack([*map(v2.functional.pil_to_tensor, crops)]),
        ]
    )
    scores = []
    with torch.no_grad():
        for path in sorted((tmp_path / "val").glob("*/*.png")):
            scores.append(model.eval()(trained.scaling(crops(Image.open(path)))).softmax(1))
    scores = torch.stack(scores)  # (N, 10, classes)
    mean, centre = scores.mean(1), scores[:, 4]
    ranks = {key: each.argsort(1, descending=True) for key, each in (("mean", mean), ("centre", centre))}
    expected = {"test_error_10crop": np.mean([y[i] != rank[0] for i, rank in enumerate(ranks["mean"])])}
    if classes == 8:
        for key, which in (("test_error_top5", "centre"), ("test_error_top5_10crop", "mean")):
            expected[key] = np.mean([y[i] not in rank[:5] for i, rank in enumerate(ranks[which])])
    assert errors == pytest.approx({key: 100 * error for key, error in expected.items()})
    assert 0 < errors["test_error_10crop"] < 100
    assert set(errors) == set(EVALUATION.at_chance(RUN, classes).numbers)


def test_it_can_be_stopped_between_batches(tmp_path, monkeypatch):
    monkeypatch.setitem(evaluate.BATCH, "cpu", 30)
    trained, answers = prepare(tmp_path, 3), iter([False, True])
    assert EVALUATION.evaluate(trained, lambda: next(answers), print) is None
    assert trained.network.training


def test_guesses_by_hand():
    assert EVALUATION.at_chance(RUN, 10).numbers == {
        "test_error_10crop": 90.0,
        "test_error_top5": 50.0,
        "test_error_top5_10crop": 50.0,
    }
    assert EVALUATION.at_chance(RUN, 5).numbers == {"test_error_10crop": 80.0}
