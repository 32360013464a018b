import numpy as np
import pytest

from depthbench.data import DATASETS
from depthbench.data.images import Images
from depthbench.data.load import load_images
from depthbench.data.mapped import Mapped
from depthbench.data.settings import Data
from depthbench.errors import BadInput

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

        monkeypatch.setitem(DATASETS, "own", load)
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
