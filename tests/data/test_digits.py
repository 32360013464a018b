import numpy as np
from sklearn.datasets import load_digits

from depthbench.data.digits import load


def test_the_bundled_digits(tmp_path):
    images = load(tmp_path)
    assert images.train_x.shape == (1437, 1, 8, 8)
    assert images.test_x.shape == (360, 1, 8, 8)
    assert images.train_x.max() == 16
    assert images.classes == tuple("0123456789")
    assert not images.flips
    assert list(tmp_path.iterdir()) == []


def test_each_image_is_in_one_split(tmp_path):
    images = load(tmp_path)
    together = np.concatenate([images.train_x, images.test_x]).reshape(1797, 64)
    expected = load_digits().data.astype(np.uint8)
    assert sorted(map(bytes, together)) == sorted(map(bytes, expected))


def test_every_digit_has_its_share_of_the_test_set(tmp_path):
    images = load(tmp_path)
    train, test = np.bincount(images.train_y), np.bincount(images.test_y)
    assert np.abs(test - 0.2 * (train + test)).max() < 1
