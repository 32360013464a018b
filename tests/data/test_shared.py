import os
from dataclasses import fields, replace

import numpy as np
import pytest

from depthbench.data.images import with_validation
from depthbench.data.mapped import Mapped
from depthbench.data.settings import Data
from depthbench.data.shared import ALIGNMENT, share


@pytest.mark.parametrize("val_size", [None, 37])
def test_shared_images_equal_the_originals_and_are_views_of_the_file(digits, val_size):
    images = with_validation(digits, Data(name="digits", val_size=val_size))
    file, shared = share(images)
    with file:
        copy = shared.load(file.fileno())
        assert os.fstat(file.fileno()).st_nlink == 0  # the system removes it with the last process
    assert copy.content_hash() == images.content_hash()
    for field in fields(images):
        value = getattr(copy, field.name)
        if isinstance(value, np.ndarray):
            assert not value.flags.writeable
            assert value.ctypes.data % ALIGNMENT == 0
        else:
            assert value == getattr(images, field.name)
    assert len(shared.pickled) < 10_000  # arrays are in the file only


def test_images_that_are_in_a_file_already_are_not_copied(digits, tmp_path):
    np.save(tmp_path / "x.npy", digits.train_x)
    mapped = Mapped(np.load(tmp_path / "x.npy", mmap_mode="r"))
    file, shared = share(replace(digits, train_x=mapped))
    with file:
        copy = shared.load(file.fileno())
        assert os.fstat(file.fileno()).st_size < digits.train_x.nbytes
    assert isinstance(copy.train_x, Mapped)
    assert copy.content_hash() == replace(digits, train_x=mapped).content_hash()
