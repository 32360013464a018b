"""Contract of every entry of DATASETS."""

import urllib.request
from dataclasses import replace
from urllib.error import URLError

import numpy as np
import pytest

from depthbench.data import DATASETS, SequenceEntry
from depthbench.data.images import with_validation
from depthbench.data.labelled import Labelled
from depthbench.data.settings import Data
from depthbench.data.vision import FLIPS, PUBLISHED, stand_in
from tests.data import vision_files

every_data_set = pytest.mark.parametrize("name", DATASETS)
of_images = pytest.mark.parametrize(
    "name", [n for n, e in DATASETS.items() if not isinstance(e, SequenceEntry)]
)
of_sequences = pytest.mark.parametrize(
    "name", [n for n, e in DATASETS.items() if isinstance(e, SequenceEntry)]
)


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Return a function that loads a data set by name: the bundled one, or small stand-ins for the others."""

    def refuse(*args, **kwargs):
        raise URLError("tests do not use the network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)

    def load(name: str) -> Labelled:
        if name in PUBLISHED and not (tmp_path / name).exists():
            vision_files.write(name, tmp_path, monkeypatch)
        entry = DATASETS[name]
        return entry(tmp_path, Data(name=name)) if isinstance(entry, SequenceEntry) else entry(tmp_path)

    return load


def test_every_published_set_is_listed():
    assert (
        set(PUBLISHED)
        == set(FLIPS)
        == set(vision_files.WRITERS)
        == set(DATASETS) - {"digits", "pydoc", "hops"}
    )


@every_data_set
def test_it_documents_itself(name):
    assert DATASETS[name].about
    assert "\n" not in DATASETS[name].about


@of_images
def test_pixels_and_labels_have_the_promised_types_and_shapes(name, load):
    images = load(name)
    assert images.name == name
    for x, y in ((images.train_x, images.train_y), (images.test_x, images.test_y)):
        assert x.dtype == np.uint8
        assert x.shape == (len(y), *images.shape)
        assert x.flags.c_contiguous
        assert x.max() <= images.white
        assert y.dtype == np.int64
        assert y.ndim == 1
        assert y.min() >= 0
        assert y.max() < len(images.classes)
    if name in PUBLISHED:
        assert (len(images.train_y), len(images.test_y)) == vision_files.SIZES[name]


@every_data_set
def test_classes_are_distinct_names(name, load):
    classes = load(name).classes
    assert len(set(classes)) == len(classes) >= 2
    assert all(isinstance(label, str) and label for label in classes)


@every_data_set
def test_it_is_the_same_each_time_it_is_loaded(name, load):
    assert load(name).content_hash() == load(name).content_hash()


@pytest.mark.parametrize("name", PUBLISHED)
def test_its_stand_in_has_the_published_size_and_the_same_form(name, load):
    images, black = load(name), stand_in(name)
    shape, classes, train, test = PUBLISHED[name]
    assert images.shape == black.shape == shape
    assert len(images.classes) == len(black.classes) == classes
    assert images.flips == black.flips
    assert (len(black.train_x), len(black.test_x)) == (len(black.train_y), len(black.test_y)) == (train, test)


@of_sequences
def test_tokens_and_labels_have_the_promised_types_and_shapes(name, load):
    sequences = load(name)
    assert sequences.name == name
    (length,), vocabulary = sequences.shape, len(sequences.vocabulary)
    assert len(set(sequences.vocabulary)) == vocabulary
    for x, y in ((sequences.train_x, sequences.train_y), (sequences.test_x, sequences.test_y)):
        assert x.shape == (len(y), length)
        assert x.dtype == (np.uint8 if vocabulary <= 256 else np.int32)
        assert x.min() >= 0
        assert x.max() < vocabulary
        assert y.shape == (x.shape if sequences.is_next else (len(x),))
        assert y.min() >= 0
        assert y.max() < len(sequences.classes)
    assert 0 < sequences.chance_error < 100


@of_images
def test_a_validation_set_is_reproducible_stratified_and_disjoint(name, load):
    images = stand_in(name) if name in PUBLISHED else load(name)
    pixel = np.zeros((len(images.train_y), 1, 1, 1), np.uint8)  # small, because the split only reads labels
    images = replace(images, train_x=pixel)
    data = Data(name=name, val_fraction=0.1, split_seed=3)
    one, same = with_validation(images, data), with_validation(images, data)
    assert np.array_equal(one.val_y, same.val_y)
    assert len(one.train_y) + len(one.val_y) == len(images.train_y)
    expected = np.bincount(images.train_y) * 0.1
    assert np.abs(np.bincount(one.val_y, minlength=len(expected)) - expected).max() <= 1
