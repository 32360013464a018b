"""Images a part at a time, for statistics over all of them."""

from collections.abc import Iterator

import numpy as np

from depthbench.data.files import Files
from depthbench.data.mapped import Mapped

SAMPLED = 2000  # of images in files, from which statistics are taken


def parts(x: np.ndarray | Mapped) -> Iterator[np.ndarray]:
    """x in parts of some thousands of images and at most some 256 MB: few floats at a time."""
    count = max(1, len(x) // 4096, x.nbytes >> 28)
    for rows in np.array_split(np.arange(len(x)), count):
        yield x[rows[0] : rows[-1] + 1]


def for_statistics(x: np.ndarray | Mapped | Files, seed: int) -> np.ndarray | Mapped:
    """The training images `x` as far as mean, deviation and colours are taken from them: all; of those in
    files that are decoded when read, the centre crops of at most SAMPLED, drawn by `seed`."""
    if not isinstance(x, Files):
        return x
    drawn = np.random.default_rng(seed).permutation(len(x))[:SAMPLED]
    return np.asarray(x.choose(np.sort(drawn)))
