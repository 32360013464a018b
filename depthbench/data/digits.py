"""The handwritten digits that come with scikit-learn (UCI Optical Recognition of Handwritten Digits)."""

from pathlib import Path

import numpy as np

from depthbench.data.images import Images, split

TEST_FRACTION = 0.2
SPLIT_SEED = 0  # every study has the same test set


def load(data_dir: Path) -> Images:
    """Return 1,437 training and 360 test images of 8 x 8 pixels, one channel, values 0 to 16."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = digits.images.astype(np.uint8)[:, None]  # (1797, 1, 8, 8)
    y = digits.target.astype(np.int64)
    train, test = split(y, TEST_FRACTION, SPLIT_SEED)
    names = tuple(str(name) for name in digits.target_names)
    return Images("digits", x[train], y[train], x[test], y[test], names, flips=False, white=16)
