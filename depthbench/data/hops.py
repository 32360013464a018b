"""Pointer chasing: follow arrows `a -> b` from a start, k times. The depth that it needs is known.

With attention, k hops need a depth that grows like log k (Sanford et al. 2024, arXiv:2402.09268). n symbols, N
sequences."""

from pathlib import Path

import numpy as np

from depthbench.data.sequences import Sequences, smallest_type
from depthbench.data.settings import Data
from depthbench.errors import BadInput

TRAIN, TEST = 50_000, 2_000  # sequences
HOPS, SYMBOLS = 1, 8
"""The values of data.hops and data.symbols, unless they are set."""


def load(data_dir: Path, data: Data) -> Sequences:
    """Return sequences drawn with data.split_seed. The class of a sequence is where its hops end.

    A sequence lists an arrow from each symbol in random order, `a b` for `a -> b`, and then the start. The
    arrows are a permutation, the symbols before the last hop are all different, and every symbol is equally
    likely to be the answer, the start too. An answer that does not look at the arrows is therefore right with
    a probability of exactly 1/n. Raises BadInput for more hops than the symbols allow."""
    hops, symbols = data.hops or HOPS, data.symbols or SYMBOLS
    if symbols <= hops:
        raise BadInput(
            f"data.hops = {hops}: {hops} hops need at least {hops + 1} symbols; set data.symbols={hops + 1}"
        )
    rng = np.random.default_rng(data.split_seed)
    parts = [draw(rng, count, hops=hops, symbols=symbols) for count in (TRAIN, TEST)]
    names = tuple(map(str, range(symbols)))
    (train_x, train_y), (test_x, test_y) = parts
    return Sequences("hops", train_x, train_y, test_x, test_y, names, names, unit="symbols")


def draw(rng: np.random.Generator, count: int, *, hops: int, symbols: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences x (count, 2 symbols + 1) and their answers y (count,) int64."""
    path = rng.permuted(np.tile(np.arange(symbols), (count, 1)), axis=1)  # path[0] is the start
    following = np.roll(path, -1, axis=1)  # one cycle through all symbols
    returns = rng.random(count) < 1 / symbols  # the last hop ends at the start: two cycles
    following[returns, hops - 1] = path[returns, 0]
    following[returns, -1] = path[returns, hops]
    answers = np.where(returns, path[:, 0], path[:, hops])
    order = rng.permuted(np.tile(np.arange(symbols), (count, 1)), axis=1)
    arrows = np.stack([np.take_along_axis(each, order, axis=1) for each in (path, following)], axis=2)
    x = np.concatenate([arrows.reshape(count, -1), path[:, :1]], axis=1)
    return x.astype(smallest_type(symbols)), answers.astype(np.int64)
