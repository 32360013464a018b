"""Images a part at a time, for statistics over all of them."""

from collections.abc import Iterator

import numpy as np

from depthbench.data.files import Files
from depthbench.data.mapped import Mapped

MOST_IMAGES, MOST_BYTES = 4096, 2**25  # of a part: as float64, 8 times as many bytes
SAMPLED = 2000  # of images in files, from which statistics are taken


def parts(x: np.ndarray | Mapped) -> Iterator[np.ndarray]:
    """x in parts of at most MOST_IMAGES and some MOST_BYTES: few floats at a time."""
    count = max(-(-len(x) // MOST_IMAGES), -(-x.nbytes // MOST_BYTES))
    for rows in np.array_split(np.arange(len(x)), count):
        yield x[rows[0] : rows[-1] + 1]


def for_statistics(x: np.ndarray | Mapped | Files, seed: int) -> np.ndarray | Mapped:
    """The training images `x` as far as mean, deviation and colours are taken from them: all; of those in
    files that are decoded when read, the centre crops of at most SAMPLED, drawn by `seed`."""
    if not isinstance(x, Files):
        return x
    drawn = np.random.default_rng(seed).permutation(len(x))[:SAMPLED]
    return np.asarray(x.choose(np.sort(drawn)))
