from dataclasses import replace

import numpy as np
import pytest
import torch

from depthbench.data.images import with_validation
from depthbench.data.load import load_images
from depthbench.data.mapped import Mapped
from depthbench.data.placement import place_images
from depthbench.data.settings import Data
from depthbench.execution.cost.images import ImageFootprint, measure_footprint
from tests.data.photographs import write_photographs

GB = 10**9


def test_images_that_every_process_holds(digits):
    footprint = measure_footprint(digits, 100, "cpu")
    assert footprint == ImageFootprint(
        (1, 8, 8), 10, held=0, evaluated=100 + 360, evaluation_copy=100 * 64, in_file=1797 * 64
    )
    whole = ImageFootprint((1, 8, 8), 10, held=0, evaluated=1797, in_file=1797 * 64)
    assert measure_footprint(digits, None, "cpu") == measure_footprint(digits, 1437, "cpu") == whole
    apart = with_validation(digits, Data(name="digits", val_size=37))
    assert measure_footprint(apart, None, "cpu") == whole


def as_read(tmp_path):
    write_photographs(tmp_path, {"train": 2, "val": 1})
    return load_images(Data(path=str(tmp_path), decode="as_read", image_size=16), tmp_path)


@pytest.fixture
def in_file(digits, tmp_path):
    """Return a function that makes digits whose training images are in a file, all or every `step`-th."""
    np.save(tmp_path / "x.npy", digits.train_x)
    file = np.load(tmp_path / "x.npy", mmap_mode="r")
    return lambda step=1: replace(digits, train_x=Mapped(file, np.arange(1437)[::step]))


def test_images_of_a_file_have_no_copy_unless_they_are_picked_or_streamed(digits, in_file, free):
    train, test = digits.train_x.nbytes, digits.test_x.nbytes
    for images, held in ((in_file(), 0), (in_file(-1), train)):
        free(2 * (train + test))
        footprint = measure_footprint(images, 100, "cpu")
        assert (footprint.held, footprint.evaluation_copy, footprint.in_file) == (held, 6400, train + test)
        assert not footprint.are_streamed
        free(2 * (train + test) - 1)
        footprint = measure_footprint(images, 100, "cpu")
        assert (footprint.held, footprint.evaluation_copy, footprint.in_file) == (0, 0, 0)
        assert footprint.are_streamed


def test_a_gpu_holds_images_of_any_kind_if_they_fit(digits, in_file, free):
    size = 1797 * 64
    for images in (digits, in_file(), in_file(-1)):
        for available, held in ((4 * size, size), (4 * size - 1, 0)):
            free(available)
            footprint = measure_footprint(images, 100, "cuda:0")
            assert (footprint.held, footprint.in_file, footprint.are_streamed) == (held, 0, held == 0)
            assert footprint.evaluation_copy == (6400 if held else 0)


@pytest.mark.parametrize("step", [None, 1, -1])
@pytest.mark.parametrize("val_size", [None, 37])
def test_the_footprint_agrees_with_the_placement(digits, in_file, step, val_size):
    images = digits if step is None else in_file(step)
    images = with_validation(images, Data(name="digits", val_size=val_size))
    footprint, placed = measure_footprint(images, None, "cpu"), place_images(images, torch.device("cpu"))
    there = [x for x, _ in (placed.train, *placed.sets.values())]
    given = images.inputs
    sources = [getattr(x, "file", x) for x in given]
    copied = [not np.shares_memory(x.numpy(), source) for x, source in zip(there, sources, strict=True)]
    assert footprint.are_streamed == placed.is_streamed
    assert footprint.held == sum(x.nbytes for x, is_copy in zip(there, copied, strict=True) if is_copy)


def test_an_apple_gpu_has_a_copy_of_images_in_a_file(digits, in_file):
    footprint = measure_footprint(in_file(), None, "mps")
    assert (footprint.held, footprint.in_file) == (1797 * 64, 1797 * 64)


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_images_decoded_as_read_are_held_nowhere(tmp_path, free, device):
    free(GB)
    footprint = measure_footprint(as_read(tmp_path), 1, device)
    assert (footprint.held, footprint.evaluation_copy, footprint.in_file, footprint.are_streamed) == (
        0,
        0,
        0,
        True,
    )
