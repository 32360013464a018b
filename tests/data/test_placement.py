import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from depthbench.data import placement
from depthbench.data.images import Images
from depthbench.data.mapped import Mapped
from depthbench.data.placement import place_images
from depthbench.data.source import Resident, Streamed

CPU = torch.device("cpu")
PIXELS = np.arange(20 * 12, dtype=np.uint8).reshape(20, 3, 2, 2)
LABELS = np.arange(20) % 2


def in_memory():
    return Images(
        "twenty", PIXELS[:12], LABELS[:12], PIXELS[12:16], LABELS[12:16], ("a", "b"), False, PIXELS[16:]
    )


@pytest.fixture
def images():
    return replace(in_memory(), val_y=LABELS[16:])


@pytest.fixture
def in_file(images, tmp_path):
    np.save(tmp_path / "x.npy", PIXELS)
    return replace(images, train_x=Mapped(np.load(tmp_path / "x.npy", mmap_mode="r")[:12]))


def test_images_in_memory_are_on_a_cpu_without_a_copy(images, monkeypatch):
    monkeypatch.setattr(placement, "available", lambda device: 0)
    placed = place_images(images, CPU)
    assert isinstance(placed.train_source(), Resident)
    assert placed.train_source().x.data_ptr() == images.train_x.ctypes.data
    assert list(placed.sets) == ["test", "val"]
    for (x, y), (there, labels) in zip(
        [placed.train, *placed.sets.values()],
        [(PIXELS[:12], LABELS[:12]), (PIXELS[12:16], LABELS[12:16]), (PIXELS[16:], LABELS[16:])],
        strict=True,
    ):
        assert x.data_ptr() == there.ctypes.data
        assert np.array_equal(x, there)
        assert np.array_equal(y, labels)


def test_images_in_a_file_are_streamed_if_they_do_not_fit(in_file, monkeypatch):
    for memory, source in ((480, Resident), (479, Streamed)):  # 20 images of 12 bytes
        monkeypatch.setattr(placement, "available", lambda device, memory=memory: memory)
        placed = place_images(replace(in_file), CPU)
        assert type(placed.train_source()) is source
        assert placed.is_streamed == (source is Streamed)
    assert isinstance(placed.train[0], Mapped)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_given_choice_does_not_depend_on_free_memory(in_file, is_streamed, monkeypatch):
    monkeypatch.setattr(placement, "available", lambda device: is_streamed * 10**9)
    assert place_images(in_file, CPU, is_streamed).is_streamed == is_streamed


def test_a_file_is_mapped_and_not_copied_on_a_cpu(in_file):
    x, _ = place_images(in_file, CPU).train
    assert x.data_ptr() == in_file.train_x.file.ctypes.data
    assert np.array_equal(x, PIXELS[:12])


def test_a_stream_reads_training_images_in_memory_from_shared_memory(images):
    placed = place_images(images, CPU, True)
    source = placed.train_source()
    assert source.x.is_shared()
    assert np.array_equal(source.x, PIXELS[:12])
    assert placed.sets["test"][0].data_ptr() == images.test_x.ctypes.data


@pytest.mark.parametrize("is_streamed", [None, True])
def test_runs_share_only_the_images(images, is_streamed):
    placed = place_images(images, CPU, is_streamed)
    assert place_images(images, CPU, is_streamed) is placed
    one, other = placed.train_source(), placed.train_source()
    assert one is not other
    assert one.x is other.x
    assert place_images(replace(images), CPU, is_streamed) is not placed


def test_placed_images_are_released_with_the_images():
    images = replace(in_memory(), val_x=None)
    placed = weakref.ref(place_images(images, CPU))
    assert placed() is not None
    del images
    gc.collect()
    assert placed() is None


@pytest.mark.parametrize("is_streamed", [None, True])
@pytest.mark.parametrize("kind", ["images", "in_file"])
def test_a_subset_of_the_training_images(request, kind, is_streamed):
    placed = place_images(request.getfixturevalue(kind), CPU, is_streamed)
    assert placed.train_set() is placed.train
    x, y = placed.train_set(np.array([1, 2, 5]))
    (part,) = x.split(4)
    assert np.array_equal(part, PIXELS[[1, 2, 5]])
    assert y.tolist() == [1, 0, 1]


def test_the_note_says_where_images_are(digits, images, monkeypatch):
    assert place_images(digits, CPU).note == "1,797 images (115 kB) on cpu"
    for workers, said in ((4, "4 worker processes"), (1, "1 worker process")):
        monkeypatch.setattr(placement, "stream_workers", lambda x, workers=workers: workers)
        assert place_images(replace(images), CPU, True).note == f"20 images (240 B) streamed by {said}"


@pytest.mark.cuda
def test_images_of_a_file_on_a_gpu(in_file, monkeypatch):
    monkeypatch.setattr(placement, "COPY_CHUNK", 5)
    device = torch.device("cuda")
    placed = place_images(in_file, device)
    assert placed.train[0].is_cuda
    assert placed.train[1].is_cuda
    assert np.array_equal(placed.train[0].cpu(), PIXELS[:12])
    streamed = place_images(in_file, device, True)
    assert isinstance(streamed.train[0], Mapped)
    assert not streamed.sets["test"][0].is_cuda
    assert streamed.train[1].is_cuda
