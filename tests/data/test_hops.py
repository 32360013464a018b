"""Pointer chasing: the labels, the chance of a guess, and the seed."""

import numpy as np
import pytest
from pydantic import ValidationError

from depthbench.data.hops import draw, load
from depthbench.data.settings import Data

CASES = [(1, 2), (1, 8), (2, 4), (3, 8), (8, 16)]


def follow(row: list[int], hops: int, symbols: int) -> int:
    """Return where the hops of a sequence end, read from its tokens one by one."""
    *arrows, start = row
    to = {arrow // symbols: arrow % symbols for arrow in arrows}
    assert len(to) == len(set(to.values())) == symbols
    here = start - symbols**2
    seen = []
    for _ in range(hops):
        seen.append(here)
        here = to[here]
    assert len(set(seen)) == hops  # no symbol is passed twice
    return here


@pytest.mark.parametrize(("hops", "symbols"), CASES)
def test_the_label_is_where_the_hops_end(hops, symbols):
    x, y = draw(np.random.default_rng(1), 300, hops=hops, symbols=symbols)
    assert x.shape == (300, symbols + 1)
    assert [follow(row, hops, symbols) for row in x.tolist()] == y.tolist()


@pytest.mark.parametrize(("hops", "symbols"), CASES)
def test_every_answer_is_equally_likely_whatever_the_start(hops, symbols):
    count = 20_000
    x, y = draw(np.random.default_rng(2), count, hops=hops, symbols=symbols)
    steps = (y - (x[:, -1].astype(int) - symbols**2)) % symbols  # 0: back at the start
    expected = count / symbols
    for numbers in (y, steps):
        counts = np.bincount(numbers, minlength=symbols)
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_the_sequences_depend_on_the_seed_alone(tmp_path):
    one, same, other = (
        load(tmp_path, Data(name="hops", hops=2, split_seed=seed)).content_hash() for seed in (3, 3, 4)
    )
    assert one == same != other


def test_the_vocabulary_says_what_a_token_means(tmp_path):
    hops = load(tmp_path, Data(name="hops", symbols=4))
    assert hops.vocabulary[1 * 4 + 2] == "1->2"
    assert hops.vocabulary[4**2 + 3] == "from 3"
    assert hops.chance_error == 75


def test_too_few_symbols_are_refused():
    with pytest.raises(ValidationError, match="hops = 4 needs at least 8 symbols"):
        Data(name="hops", hops=4, symbols=7)
