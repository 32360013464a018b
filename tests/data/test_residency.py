from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from depthbench.data.files import Files
from depthbench.data.images import Images
from depthbench.data.mapped import Mapped
from depthbench.data.residency import should_stream

PIXELS = np.zeros((20, 3, 2, 2), np.uint8)  # 12 bytes each
LABELS = np.arange(20) % 2
IN_MEMORY = Images(
    "twenty",
    PIXELS[:12],
    LABELS[:12],
    PIXELS[12:16],
    LABELS[12:16],
    ("a", "b"),
    False,
    PIXELS[16:],
    LABELS[16:],
)
IN_FILE = replace(IN_MEMORY, train_x=Mapped(PIXELS[:12]))


@pytest.mark.parametrize(("images", "device", "least"), [(IN_FILE, "cpu", 480), (IN_MEMORY, "cuda:0", 960)])
def test_all_images_count_against_a_fraction_of_free_memory(images, device, least):
    assert not should_stream(images, device, least)
    assert should_stream(images, device, least - 1)


def test_images_in_memory_are_never_streamed_to_a_cpu():
    assert not should_stream(IN_MEMORY, "cpu", 0)


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_images_decoded_as_read_are_always_streamed(device):
    files = Files.of(Path("/"), [Path("/a.jpg")], 16)
    assert should_stream(replace(IN_MEMORY, train_x=files), device, 10**12)
