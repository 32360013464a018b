"""Chunks and samples of images, for statistics over a whole training set."""

from collections.abc import Iterator

import numpy as np

from depthbench.data.files import Files
from depthbench.data.mapped import Mapped

MAX_IMAGES, MAX_BYTES = 4096, 2**25  # of a chunk; as float64 it takes 8 times as many bytes
SAMPLE_SIZE = 2000  # images in files from which statistics are computed


def in_chunks(x: np.ndarray | Mapped) -> Iterator[np.ndarray]:
    """Yield x in chunks of at most MAX_IMAGES and about MAX_BYTES, so that few are floats at a time."""
    count = max(-(-len(x) // MAX_IMAGES), -(-x.nbytes // MAX_BYTES))
    for rows in np.array_split(np.arange(len(x)), count):
        yield x[rows[0] : rows[-1] + 1]


def sample_for_statistics(x: np.ndarray | Mapped | Files, seed: int) -> np.ndarray | Mapped:
    """Return the training images from which mean, deviation and colours are computed.

    This is all of `x`. If images stay in their files, it is the centre crops of at most SAMPLE_SIZE images,
    drawn with `seed`."""
    if not isinstance(x, Files):
        return x
    drawn = np.random.default_rng(seed).permutation(len(x))[:SAMPLE_SIZE]
    return np.asarray(x.choose(np.sort(drawn)))
