"""Sequences: windows, splits, chance and the hash."""

from dataclasses import replace

import numpy as np
import pytest

from depthbench.data.images import with_validation
from depthbench.data.sequences import Sequences, smallest_type, windows
from depthbench.data.settings import Data
from depthbench.errors import BadInput

NAMES = tuple("abcd")


def next_tokens(count: int = 20) -> Sequences:
    tokens = np.random.default_rng(0).choice(4, 5 * count + 1, p=[0.4, 0.3, 0.2, 0.1]).astype(np.uint8)
    x, y = windows(tokens, 5)
    return Sequences("text", x[4:], y[4:], x[:4], y[:4], NAMES, NAMES)


def test_windows_do_not_overlap_and_labels_follow():
    x, y = windows(np.arange(12), 5)
    assert x.tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert y.tolist() == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]
    assert len(windows(np.arange(10), 5)[0]) == 1  # the last token has no next one


@pytest.mark.parametrize(("asked", "held"), [({"val_size": 3}, 3), ({"val_fraction": 0.25}, 4)])
def test_validation_takes_the_end_of_the_training_text(asked, held):
    whole = next_tokens()
    parts = with_validation(whole, Data(name="pydoc", **asked))
    assert np.array_equal(parts.val_x, whole.train_x[-held:])
    assert np.array_equal(parts.val_y, whole.train_y[-held:])
    assert np.array_equal(parts.train_x, whole.train_x[:-held])


@pytest.mark.parametrize("size", [16, 17])
def test_validation_leaves_something_to_train_on(size):
    with pytest.raises(BadInput, match=f"val_size = {size}: cannot split {size} off 16 sequences"):
        with_validation(next_tokens(), Data(name="pydoc", val_size=size))


def test_classes_are_divided_in_proportion():
    y = np.arange(40) % 4
    x = np.zeros((40, 5), np.uint8)
    sequences = Sequences("texts", x, y, x, y, NAMES, NAMES)
    parts = with_validation(sequences, Data(name="hops", val_size=8))
    assert np.bincount(parts.val_y).tolist() == [2, 2, 2, 2]
    assert sequences.chance_error == 75


def test_part_of_the_training_text_is_drawn_at_random_but_always_the_same():
    sequences = next_tokens()
    others, drawn = sequences.draw(5, 7)
    assert sorted([*others, *drawn]) == list(range(16))
    assert len(drawn) == 5
    assert drawn.tolist() == sequences.draw(5, 7)[1].tolist() != sequences.draw(5, 8)[1].tolist()


def test_chance_answers_the_most_common_token():
    sequences = next_tokens()
    most = np.bincount(sequences.train_y.ravel()).argmax()
    assert sequences.chance_error == pytest.approx(100 * (sequences.test_y != most).mean())


def test_the_hash_covers_tokens_labels_and_their_meaning():
    sequences = next_tokens()
    changed = [
        replace(sequences, train_x=sequences.train_x + np.uint8(1)),
        replace(sequences, test_y=sequences.test_y[:, ::-1]),
        replace(sequences, vocabulary=tuple("abce")),
        replace(sequences, unit="bytes"),
        with_validation(sequences, Data(name="pydoc", val_size=2)),
    ]
    hashes = {each.content_hash() for each in (sequences, *changed)}
    assert len(hashes) == 1 + len(changed)
    assert replace(sequences, name="other").content_hash() == sequences.content_hash()


def test_tokens_take_little_memory():
    assert smallest_type(256) == np.uint8
    assert smallest_type(257) == np.int32
