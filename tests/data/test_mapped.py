import pickle
import warnings

import numpy as np
import pytest
import torch

from depthbench.data.mapped import Mapped, as_mapped
from depthbench.data.tensors import as_tensor

PIXELS = np.arange(10 * 4, dtype=np.uint8).reshape(10, 1, 2, 2)


@pytest.fixture
def file(tmp_path):
    np.save(tmp_path / "x.npy", PIXELS)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


@pytest.mark.parametrize("rows", [np.arange(10), np.arange(3, 8), np.array([7, 0, 2, 9]), np.arange(0)])
def test_it_reads_like_an_array(file, rows):
    images, expected = Mapped(file).choose(rows), PIXELS[rows]
    assert (images.shape, images.nbytes, len(images)) == (expected.shape, expected.nbytes, len(rows))
    assert np.array_equal(images, expected)
    assert np.array_equal(images[1:3], expected[1:3])
    assert [part.tolist() for part in images.split(3)] == [
        expected[start : start + 3].tolist() for start in range(0, len(rows), 3)
    ]
    if len(rows):
        assert np.array_equal(images[-1], expected[-1])
        assert np.array_equal(images[np.array([3, 0, 3])], expected[[3, 0, 3]])
        assert np.array_equal(images.choose(np.array([2, 1])), expected[[2, 1]])


def test_consecutive_images_are_not_copied(file):
    images = Mapped(file).choose(np.arange(3, 8))
    assert np.shares_memory(images[1:3], file)
    (part,) = images.split(5)
    assert part.data_ptr() == file[3:].ctypes.data


@pytest.mark.parametrize("part", [slice(None), slice(4, 9)])
def test_a_pickle_holds_the_name_of_the_file(file, part):
    images = as_mapped(file[part]).choose(np.arange(len(file[part]))[::-1])
    content = pickle.dumps(images)
    assert b"x.npy" in content
    again = pickle.loads(content)
    assert np.array_equal(again, PIXELS[part][::-1])


def test_only_a_file_is_mapped(file):
    assert as_mapped(PIXELS) is PIXELS
    changed = np.memmap(file.filename, np.uint8, "c", file.offset, file.shape)
    words = np.memmap(file.filename, np.int16, "r", file.offset, (10, 1, 1, 2))
    for array in (file + 1, file[::2], file[:, :, :1], changed, words):  # in memory, with gaps, or changed
        assert as_mapped(array) is array


def test_a_tensor_of_a_file_is_not_a_copy_and_does_not_warn(file):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = as_tensor(file)
    assert tensor.data_ptr() == file.ctypes.data
    address = file.ctypes.data
    del file
    assert tensor.data_ptr() == address
    assert torch.equal(tensor, torch.from_numpy(PIXELS))  # the tensor keeps the file mapped
