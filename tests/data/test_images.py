from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthbench.data.images import Images, choose, split, with_validation
from depthbench.data.mapped import Mapped
from depthbench.data.settings import Data
from depthbench.errors import BadInput

LABELS = np.repeat(np.arange(5), 20)  # 100 images, 5 classes
PIXELS = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1)
IMAGES = Images("hundred", PIXELS, LABELS, PIXELS[:10], LABELS[::10], tuple("abcde"), flips=False)


def test_images_are_chosen_in_memory_and_in_a_file(tmp_path):
    np.save(tmp_path / "x.npy", PIXELS)
    mapped = Mapped(np.load(tmp_path / "x.npy", mmap_mode="r"))
    for x in (PIXELS, mapped):
        chosen = choose(x, np.array([4, 2]))
        assert type(chosen) is type(x)
        assert np.array_equal(np.asarray(chosen), PIXELS[[4, 2]])


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    counts=st.lists(st.integers(4, 30), min_size=2, max_size=5),
    fraction=st.floats(0.25, 0.75),
    seed=st.integers(0, 99),
)
def test_a_split_is_stratified_disjoint_and_complete(counts, fraction, seed):
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    kept, part = split(y, fraction, seed)
    assert sorted([*kept, *part]) == list(range(len(y)))
    assert list(kept) == sorted(kept)
    assert list(part) == sorted(part)
    assert np.abs(np.bincount(y[part]) - fraction * np.array(counts)).max() < 1.5
    assert np.array_equal(split(y, fraction, seed)[1], part)


def test_seeds_split_differently():
    assert not np.array_equal(split(LABELS, 20, 0)[1], split(LABELS, 20, 1)[1])


@pytest.mark.parametrize("asked", [{"val_size": 10}, {"val_fraction": 0.1}])
def test_validation_is_taken_out_of_training_only(asked):
    images = with_validation(IMAGES, Data(**asked))
    assert len(images.train_x) == 90
    assert np.bincount(images.val_y).tolist() == [2] * 5
    together = np.concatenate([images.train_x, images.val_x]).ravel()
    assert sorted(together) == list(range(100))
    assert np.array_equal(images.val_y, LABELS[images.val_x.ravel()])
    assert np.array_equal(images.train_y, LABELS[images.train_x.ravel()])
    assert images.test_x is IMAGES.test_x


def test_only_the_split_seed_decides_the_validation_set():
    first, again, other = (with_validation(IMAGES, Data(val_size=10, split_seed=s)) for s in (0, 0, 1))
    assert np.array_equal(first.val_x, again.val_x)
    assert not np.array_equal(first.val_x, other.val_x)


def test_a_run_seed_does_not_move_the_split(tiny):
    study = tiny(data={"val_size": 10}, grid={"seed": [0, 1]})
    first, second = {run.seed: with_validation(IMAGES, run.data) for run in study.runs()}.values()
    assert np.array_equal(first.val_x, second.val_x)


def test_no_validation_set_by_default():
    assert with_validation(IMAGES, Data()) is IMAGES


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"val_size": 4}, "data.val_size = 4: cannot split 4 off 100 images"),
        ({"val_size": 100}, "data.val_size = 100: cannot split 100 off 100 images"),
        ({"val_fraction": 0.01}, "data.val_fraction = 0.01: cannot split 0.01 off 100 images"),
    ],
)
def test_a_split_too_small_for_every_class_is_an_error(asked, message):
    with pytest.raises(BadInput) as error:
        with_validation(IMAGES, Data(**asked))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_chance_error_is_that_of_guessing_a_class():
    assert IMAGES.chance_error == 80.0
    assert IMAGES.shape == (1, 1, 1)


def test_the_content_hash_covers_pixels_labels_and_split():
    other_pixels, other_labels = PIXELS.copy(), LABELS.copy()
    other_pixels[7] += 1
    other_labels[7] += 1
    variants = [
        IMAGES,
        replace(IMAGES, train_x=other_pixels),
        replace(IMAGES, train_y=other_labels),
        replace(IMAGES, test_x=PIXELS[10:20]),
        with_validation(IMAGES, Data(val_size=10)),
        with_validation(IMAGES, Data(val_size=10, split_seed=1)),
    ]
    assert len({images.content_hash() for images in variants}) == len(variants)
    assert replace(IMAGES, name="copy", train_x=PIXELS.copy()).content_hash() == IMAGES.content_hash()
