"""Pointer chasing: follow k arrows `a -> b` from a start. How the depth that this needs grows is known.

Transformers need a depth that grows like log k for k hops (Sanford et al. 2024, arXiv:2402.09268). n is the
number of symbols."""

from pathlib import Path

import numpy as np

from depthbench.data.sequences import Sequences, smallest_type
from depthbench.data.settings import HOPS, Data, symbols_for

TRAIN, TEST = 50_000, 2_000  # sequences


def load(data_dir: Path, data: Data) -> Sequences:
    """Return sequences drawn with data.split_seed. The class of a sequence is where its hops end.

    A sequence lists the arrows of all symbols in random order, a token each, and then the start. The token of
    `a -> b` is n a + b, and that of the start a is n^2 + a. The arrows are a permutation, and the symbols
    before the last hop are all different. Every symbol, also the start, is equally likely to be the answer.
    A guess that does not look at the arrows is therefore right with a probability of exactly 1/n. With at
    least 2 k symbols, which `Data` requires, following the arrows backwards to the answer takes at least k
    hops, except if the answer is the start."""
    hops = data.hops or HOPS
    symbols = data.symbols or symbols_for(hops)
    rng = np.random.default_rng(data.split_seed)
    parts = [draw(rng, count, hops=hops, symbols=symbols) for count in (TRAIN, TEST)]
    (train_x, train_y), (test_x, test_y) = parts
    names = tuple(map(str, range(symbols)))
    vocabulary = (*(f"{a}->{b}" for a in names for b in names), *(f"from {a}" for a in names))
    return Sequences("hops", train_x, train_y, test_x, test_y, vocabulary, names, unit="symbols")


def draw(rng: np.random.Generator, count: int, *, hops: int, symbols: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences x (count, symbols + 1) and their answers y (count,) int64."""
    path = rng.permuted(np.tile(np.arange(symbols), (count, 1)), axis=1)  # path[:, 0] are the starts
    following = np.roll(path, -1, axis=1)  # one cycle through all symbols
    returns = rng.random(count) < 1 / symbols  # the last hop ends at the start: two cycles
    following[returns, hops - 1] = path[returns, 0]
    following[returns, -1] = path[returns, hops]
    answers = np.where(returns, path[:, 0], path[:, hops])
    arrows = rng.permuted(symbols * path + following, axis=1)
    x = np.concatenate([arrows, symbols**2 + path[:, :1]], axis=1)
    return x.astype(smallest_type(symbols**2 + symbols)), answers.astype(np.int64)
