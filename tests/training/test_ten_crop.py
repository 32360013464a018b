import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from depthbench.data.batches import Scaling
from depthbench.data.load import load_images
from depthbench.data.settings import Data
from depthbench.training import evaluate
from depthbench.training.ten_crop import chance_errors, ten_crop_errors
from tests.data.photographs import write_photographs

CPU = torch.device("cpu")
SIDE = 28


def network(classes):
    """A linear map of the pixels: every place of a crop matters. In training mode it answers nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Dropout(1.0), nn.Linear(3 * SIDE**2, classes)).train()


def prepare(root, classes):
    write_photographs(root, {"train": 2, "val": 5}, classes, kind="png")
    images = load_images(Data(path=str(root), decode="as_read", image_size=SIDE), root)
    return images.test_x, torch.from_numpy(images.test_y), Scaling(np.asarray(images.train_x), "pixel", CPU)


@pytest.mark.parametrize("classes", [3, 8])
def test_errors_equal_those_by_hand_with_torchvisions_crops(tmp_path, monkeypatch, classes):
    monkeypatch.setitem(evaluate.BATCH, "cpu", 30)  # three images at once, the last part smaller
    x, y, scaling = prepare(tmp_path, classes)
    model = network(classes)
    found = ten_crop_errors(model, x, y, scaling, "fp32")
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
            scores.append(model.eval()(scaling(crops(Image.open(path)))).softmax(1))
    scores = torch.stack(scores)  # (N, 10, classes)
    mean, centre = scores.mean(1), scores[:, 4]
    ranks = {key: each.argsort(1, descending=True) for key, each in (("mean", mean), ("centre", centre))}
    expected = {"test_error_10crop": np.mean([y[i] != rank[0] for i, rank in enumerate(ranks["mean"])])}
    if classes == 8:
        for key, which in (("test_error_top5", "centre"), ("test_error_top5_10crop", "mean")):
            expected[key] = np.mean([y[i] not in rank[:5] for i, rank in enumerate(ranks[which])])
    assert found == pytest.approx({key: 100 * error for key, error in expected.items()})
    assert 0 < found["test_error_10crop"] < 100
    assert set(found) == set(chance_errors(classes))


def test_it_can_be_stopped_between_batches(tmp_path, monkeypatch):
    monkeypatch.setitem(evaluate.BATCH, "cpu", 30)
    x, y, scaling = prepare(tmp_path, 3)
    model, answers = network(3), iter([False, True])
    assert ten_crop_errors(model, x, y, scaling, "fp32", lambda: next(answers)) is None
    assert model.training


def test_guesses_by_hand():
    assert chance_errors(10) == {
        "test_error_10crop": 90.0,
        "test_error_top5": 50.0,
        "test_error_top5_10crop": 50.0,
    }
    assert chance_errors(5) == {"test_error_10crop": 80.0}
