"""torchvision's loaders on small files of the real formats. Nothing is downloaded."""

import urllib.request
from http.client import IncompleteRead
from urllib.error import URLError

import numpy as np
import pytest

from depthbench.data.load import load_images
from depthbench.data.settings import Data
from depthbench.data.vision import FLIPS
from depthbench.errors import BadInput
from tests.data import vision_files

ONE_EACH = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("cifar10", [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]),
        ("cifar100", [0, 99, 5, 7]),
        ("svhn", [0, 1, 9]),  # its files label a zero as 10
        ("mnist", ONE_EACH),
        ("fashion_mnist", ONE_EACH),
    ],
)
def test_pixels_and_labels_equal_those_of_the_files(tmp_path, monkeypatch, name, labels):
    x = vision_files.write(name, tmp_path, monkeypatch)
    images = load_images(Data(name=name), tmp_path)
    assert np.array_equal(images.train_x, x)
    assert images.train_y.tolist() == labels
    assert np.array_equal(images.test_x, x[: vision_files.SIZES[name][1]])


def test_classes_have_the_names_in_the_files(tmp_path, monkeypatch):
    vision_files.write("cifar10", tmp_path, monkeypatch)
    assert load_images(Data(name="cifar10"), tmp_path).classes[:2] == ("airplane", "automobile")


@pytest.mark.parametrize("name", sorted(FLIPS))
@pytest.mark.parametrize("failure", [URLError("Network is unreachable"), IncompleteRead(b"", 5)])
def test_without_network_the_error_says_what_to_do_in_one_line(tmp_path, monkeypatch, capsys, name, failure):
    def refuse(*args, **kwargs):
        raise failure

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(BadInput) as error:
        load_images(Data(name=name), tmp_path)
    message = str(error.value)
    assert message.startswith(f"data set {name} is not in {tmp_path / name} and cannot be downloaded (")
    assert getattr(failure, "reason", "IncompleteRead") in message
    assert "--data-dir" in message
    assert "--data digits" in message
    assert "\n" not in message
    assert capsys.readouterr().out == ""
