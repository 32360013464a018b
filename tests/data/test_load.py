from dataclasses import replace

import numpy as np
import pytest

from depthbench.data import DATASETS
from depthbench.data.images import Images
from depthbench.data.load import load_images
from depthbench.data.mapped import Mapped
from depthbench.data.settings import Data
from depthbench.errors import BadInput
from depthbench.registry import Entry

PIXELS = np.arange(10 * 4, dtype=np.uint8).reshape(10, 1, 2, 2)
LABELS = np.arange(10) % 2


@pytest.fixture
def own(monkeypatch):
    """Add a data set "own" with these training images, and return the directories that it is loaded from."""
    directories = []

    def add(train_x):
        def load(data_dir):
            directories.append(data_dir)
            return Images("own", train_x, LABELS, PIXELS, LABELS, ("a", "b"), flips=False)

        monkeypatch.setitem(DATASETS, "own", Entry(load))
        return directories

    return add


def test_the_file_of_a_plug_in_is_mapped(own, tmp_path):
    np.save(tmp_path / "x.npy", PIXELS)
    directories = own(np.load(tmp_path / "x.npy", mmap_mode="r"))
    images = load_images(Data(name="own"), tmp_path)
    assert isinstance(images.train_x, Mapped)
    assert images.test_x is PIXELS
    assert images.val_x is None
    assert directories == [tmp_path]


def test_a_validation_set_is_split_off_whatever_the_source(own, tmp_path):
    np.save(tmp_path / "x.npy", PIXELS)
    for pixels in (PIXELS, np.load(tmp_path / "x.npy", mmap_mode="r")):
        own(pixels)
        images = load_images(Data(name="own", val_size=4), tmp_path)
        assert [len(y) for y in (images.train_y, images.val_y, images.test_y)] == [6, 4, 10]
        both = np.concatenate([np.asarray(images.train_x), np.asarray(images.val_x)])
        assert sorted(map(bytes, both)) == sorted(map(bytes, PIXELS))


def test_a_folder_takes_precedence_over_a_name(tmp_path):
    with pytest.raises(BadInput, match=r"data folder .*gone does not exist"):
        load_images(Data(name="digits", path=str(tmp_path / "gone")), tmp_path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda images: (PIXELS, LABELS), "its loader returned a tuple; return depthbench.plugins.Images"),
        (lambda images: 1 / 0, "its loader raised ZeroDivisionError: division by zero; fix its plug-in"),
        ({"classes": ("a",)}, "classes has 1 name, but a classifier needs at least 2"),
        ({"train_x": PIXELS / 255}, "train_x has the type float64; it should be a numpy array of uint8"),
        (
            {"train_y": LABELS.astype("int32")},
            "train_y has the type int32; it should be a numpy array of i",
        ),
        ({"train_y": LABELS.tolist()}, "train_y is .0, 1, 0.*; it should be a numpy array of int64"),
        ({"train_x": PIXELS[:, 0]}, r"train_x has the shape \(10, 2, 2\); it should be \(images, channels,"),
        ({"train_y": LABELS[:9]}, r"train_y has the shape \(9,\); it should be \(10,\), a label per image"),
        ({"test_x": PIXELS[..., :1]}, r"test_x has images of \(1, 2, 1\), but train_x of \(1, 2, 2\)"),
        ({"test_y": LABELS + 1}, "test_y has labels from 1 to 2, but the 2 classes are 0 to 1"),
        ({"val_x": PIXELS}, "val_y is None; it should be a numpy array of int64"),
    ],
)
def test_what_a_plug_in_loads_is_checked(monkeypatch, tmp_path, change, problem):
    images = Images("own", PIXELS, LABELS, PIXELS, LABELS, ("a", "b"), flips=False)
    load = change if callable(change) else lambda folder: replace(images, **change)
    monkeypatch.setitem(DATASETS, "own", Entry(load, origin="/mine.py"))
    with pytest.raises(BadInput, match=f"data set 'own' of /mine.py: {problem}"):
        load_images(Data(name="own"), tmp_path)
