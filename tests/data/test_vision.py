"""torchvision's loaders on small files of the real formats; nothing is downloaded."""

import pickle
import struct
import urllib.request
from http.client import IncompleteRead
from urllib.error import URLError

import numpy as np
import pytest
import scipy.io

from depthbench.data import DATASETS
from depthbench.data.load import load_images
from depthbench.data.settings import Data
from depthbench.data.vision import FLIPS
from depthbench.errors import BadInput


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("Network is unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def check(images, name, classes, train, test, shape):
    assert images.name == name
    assert images.flips == FLIPS[name]
    assert len(images.classes) == classes
    for x, y, count in ((images.train_x, images.train_y, train), (images.test_x, images.test_y, test)):
        assert x.shape == (count, *shape)
        assert x.dtype == np.uint8
        assert x.flags.c_contiguous
        assert y.shape == (count,)
        assert y.dtype == np.int64


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_files_of_mnist(tmp_path, name, folder):
    raw = tmp_path / name / folder / "raw"
    x = pixels(12, 28, 28)
    for part, count in (("train", 12), ("t10k", 5)):
        write_idx(raw / f"{part}-images-idx3-ubyte", x[:count])
        write_idx(raw / f"{part}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))
    images = load_images(Data(name=name), tmp_path)
    check(images, name, 10, 12, 5, (1, 28, 28))
    assert np.array_equal(images.train_x[:, 0], x)
    assert images.train_y.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def write_cifar(path, x, key, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps({"data": x.reshape(len(x), -1), key: labels}))


def test_files_of_cifar10(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5=None: True)
    folder = tmp_path / "cifar10" / "cifar-10-batches-py"
    x = pixels(10, 3, 32, 32)  # the files hold all red pixels first, row by row
    for i in range(5):
        write_cifar(folder / f"data_batch_{i + 1}", x[2 * i : 2 * i + 2], "labels", [i, 9 - i])
    write_cifar(folder / "test_batch", x[:3], "labels", [0, 1, 2])
    names = ["airplane", "automobile", *map(str, range(8))]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    images = load_images(Data(name="cifar10"), tmp_path)
    check(images, "cifar10", 10, 10, 3, (3, 32, 32))
    assert images.classes[:2] == ("airplane", "automobile")
    assert np.array_equal(images.train_x, x)
    assert images.train_y.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]


def test_files_of_cifar100(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5=None: True)
    folder = tmp_path / "cifar100" / "cifar-100-python"
    x = pixels(4, 3, 32, 32)
    write_cifar(folder / "train", x, "fine_labels", [0, 99, 5, 7])
    write_cifar(folder / "test", x[:2], "fine_labels", [1, 98])
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"class {i}" for i in range(100)]}))
    images = load_images(Data(name="cifar100"), tmp_path)
    check(images, "cifar100", 100, 4, 2, (3, 32, 32))
    assert np.array_equal(images.test_x, x[:2])
    assert images.train_y.tolist() == [0, 99, 5, 7]


def test_files_of_svhn_call_a_zero_ten(tmp_path, monkeypatch):
    for module in ("svhn", "utils"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", lambda path, md5=None: True)
    (tmp_path / "svhn").mkdir()
    x = pixels(3, 3, 32, 32)
    for part in ("train", "test"):
        content = {"X": x.transpose(2, 3, 1, 0), "y": np.array([[10], [1], [9]], np.uint8)}
        scipy.io.savemat(tmp_path / "svhn" / f"{part}_32x32.mat", content)
    images = load_images(Data(name="svhn"), tmp_path)
    check(images, "svhn", 10, 3, 3, (3, 32, 32))
    assert np.array_equal(images.train_x, x)
    assert images.train_y.tolist() == [0, 1, 9]


@pytest.mark.parametrize("name", sorted(FLIPS))
@pytest.mark.parametrize("failure", [URLError("Network is unreachable"), IncompleteRead(b"", 5)])
def test_no_network_is_one_line_that_says_what_to_do(tmp_path, monkeypatch, capsys, name, failure):
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


def test_every_listed_set_of_torchvision_is_tested_here():
    assert set(DATASETS) - {"digits"} == set(FLIPS)
