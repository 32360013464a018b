import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from depthbench.data.batches import Batches, Scaling
from depthbench.data.colour import Colour
from depthbench.data.draws import Draws
from depthbench.data.source import Resident

CPU = torch.device("cpu")
few = settings(max_examples=25, deadline=None, derandomize=True)


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def stream(count=10, size=4, *, batch_size=4, seed=0, pad=0, flip=False, channels=1):
    """Return batches of random images labelled 0, 1, 2, ..."""
    x = pixels(count, channels, size, size)
    scaling = Scaling(x, "channel", CPU)
    x, y = torch.from_numpy(x), torch.arange(count)
    return Batches(Resident(x, y), scaling, batch_size=batch_size, seed=seed, pad=pad, flip=flip)


def take(batches):
    """Return the images and labels of the next batch."""
    return batches.images(batches.take())


def test_scaling_by_channel_by_hand():
    x = np.array([[[[0, 10]], [[7, 7]]], [[[20, 30]], [[7, 7]]]], dtype=np.uint8)  # (2, 2, 1, 2)
    scaling = Scaling(x, "channel", CPU)
    assert scaling.mean.flatten().tolist() == [15, 7]
    assert scaling.scale.flatten().tolist() == pytest.approx([125**-0.5, 1], rel=1e-7)
    assert scaling(torch.from_numpy(x))[:, 1].eq(0).all()  # a constant channel stays at zero


def test_scaling_by_pixel_by_hand():
    x = np.array([[[[0, 10]]], [[[20, 30]]]], dtype=np.uint8)  # each pixel is 10 from its mean
    scaling = Scaling(x, "pixel", CPU)
    assert scaling.mean.flatten().tolist() == [10, 20]
    assert scaling(torch.from_numpy(x)).flatten().tolist() == [-1, -1, 1, 1]


def test_no_scaling_maps_to_0_and_1():
    x = np.array([[[[0, 4, 16]]]], dtype=np.uint8)
    assert Scaling(x, "none", CPU)(torch.from_numpy(x)).flatten().tolist() == [0, 0.25, 1]
    assert Scaling(x * 0, "none", CPU)(torch.from_numpy(x)).flatten().tolist() == [0, 4, 16]


@pytest.mark.parametrize("count", [5, 9001])  # in one part and in several
def test_scaling_against_numpy(count):
    x = pixels(count, 3, 2, 4)
    x[:, 1] //= 3
    for name, axes in (("channel", (0, 2, 3)), ("pixel", (0,))):
        mean = x.mean(axes, keepdims=True)
        std = (x - mean).std(axes if name == "channel" else None, keepdims=True)
        expected = torch.from_numpy((x - mean) / std).float()
        actual = Scaling(x, name, CPU)(torch.from_numpy(x))
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


@few
@given(count=st.integers(1, 12), batch_size=st.integers(1, 15), seed=st.integers(0, 5))
def test_every_image_comes_once_in_each_pass(count, batch_size, seed):
    batches = stream(count, 2, batch_size=batch_size, seed=seed)
    labels = torch.cat([take(batches)[1] for _ in range(count)])  # batch_size passes
    assert len(labels) == count * batch_size
    for one_pass in labels.reshape(batch_size, count):
        assert one_pass.sort().values.tolist() == list(range(count))


def test_passes_differ_in_order():
    batches = stream(count=20, batch_size=20)
    assert not torch.equal(take(batches)[1], take(batches)[1])


@pytest.mark.parametrize("augmentation", [{}, {"pad": 2}, {"flip": True}, {"pad": 2, "flip": True}])
def test_a_seed_decides_the_stream_and_its_hash(augmentation):
    one, same, other = (stream(seed=seed, **augmentation) for seed in (3, 3, 4))
    assert one.hash == ""
    for _ in range(5):
        (x, y), (same_x, same_y) = take(one), take(same)
        other.take()
        assert torch.equal(x, same_x)
        assert torch.equal(y, same_y)
        assert one.hash == same.hash != other.hash
    assert len(one.hash) == 64


def test_a_seed_draws_the_same_in_every_version():
    batches, digest = stream(pad=2, flip=True), hashlib.sha256()
    for _ in range(5):
        x, y = take(batches)
        digest.update(y.numpy().tobytes() + x.contiguous().numpy().tobytes())
    assert batches.hash == "fde658c18009fdf6a3d8efbb28ca2e4110fa086284fd3a48e0defa0a14286853"
    assert digest.hexdigest() == "9aa20c20e6d89b3ef77d09add6c014c82efa36d39db3612aa2b42268cfbc43f2"


def test_the_hash_covers_everything_drawn():
    hashes = set()
    for options in ({}, {"pad": 1}, {"flip": True}, {"pad": 1, "flip": True}, {"batch_size": 5}):
        batches = stream(**options)
        for _ in range(3):
            batches.take()
            hashes.add(batches.hash)
    assert len(hashes) == 5 * 3


@few
@given(
    size=st.integers(2, 5),
    channels=st.integers(1, 3),
    pad=st.integers(0, 3),
    flip=st.booleans(),
    seed=st.integers(0, 99),
)
def test_augmentation_equals_a_loop_over_the_images(size, channels, pad, flip, seed):
    options = {"size": size, "channels": channels, "pad": pad, "flip": flip, "seed": seed, "batch_size": 6}
    batches = stream(**options)
    for _ in range(2):
        batch = batches.take()
        x, y = batches.images(batch)
        indices, top, left, mirrored = batch.numbers
        for image, i, t, m, f in zip(x, indices, top, left, mirrored, strict=True):
            padded = np.pad(batches.scaling(batches.source.x[i]).numpy(), ((0, 0), (pad, pad), (pad, pad)))
            crop = padded[:, t : t + size, m : m + size]
            np.testing.assert_array_equal(image, crop[:, :, ::-1] if f else crop)
        assert torch.equal(y, indices)


def test_offsets_and_mirrors_take_every_value():
    draws = Draws(10, batch_size=500, seed=0, pad=2, flip=True)
    _, top, left, mirrored = draws.next().numbers
    assert set(top.tolist()) == set(left.tolist()) == {0, 1, 2, 3, 4}
    assert 200 < mirrored.sum() < 300


def test_nothing_is_changed_when_augmentation_is_off():
    batches = stream(channels=3)
    x, y = take(batches)
    assert torch.equal(x, batches.scaling(batches.source.x[y]))
    assert x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("taken", [0, 1, 7])
def test_a_restored_stream_continues_identically(taken):
    batches = stream(pad=1, flip=True)
    for _ in range(taken):
        batches.take()
    state = batches.state()
    expected = [take(batches) for _ in range(5)]

    again = stream(pad=1, flip=True, seed=99)
    again.take()
    again.restore(state)
    for x, y in expected:
        other_x, other_y = take(again)
        assert torch.equal(x, other_x)
        assert torch.equal(y, other_y)
    assert again.hash == batches.hash


def test_images_depend_only_on_their_batch():
    batches = stream(pad=1, flip=True)
    first = batches.take()
    x, y = batches.images(first)
    batches.take()
    again_x, again_y = batches.images(first)
    assert torch.equal(x, again_x)
    assert torch.equal(y, again_y)


def test_colours_are_added_to_pixels_but_not_to_padding():
    x = pixels(10, 3, 4, 4)
    scaling, colour = Scaling(x, "pixel", CPU), Colour(x, CPU)
    source = Resident(torch.from_numpy(x), torch.arange(10))
    batches = Batches(source, scaling, batch_size=4, seed=0, pad=1, flip=True, colour=colour)
    batch = batches.take()
    augmented, y = batches.images(batch)
    assert batch.colour.shape == (4, 3)
    indices, top, left, mirrored = batch.numbers
    assert torch.equal(y, indices)
    for i, image in enumerate(augmented):
        shifted = torch.from_numpy(x)[indices[i]].float() + colour(batch.colour)[i]
        scaled = (shifted - scaling.mean) * scaling.scale
        padded = np.pad(scaled.numpy(), ((0, 0), (1, 1), (1, 1)))
        crop = padded[:, top[i] : top[i] + 4, left[i] : left[i] + 4]
        np.testing.assert_allclose(image, crop[:, :, ::-1] if mirrored[i] else crop, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("part", [slice(0, 2), slice(2, 7), slice(3, 4)])
def test_a_part_of_each_batch_has_its_images_and_the_hash_and_state_of_the_whole(part):
    x = pixels(10, 3, 4, 4)
    source = Resident(torch.from_numpy(x), torch.arange(10))
    scaling = Scaling(x, "channel", CPU)
    settings = {"batch_size": 7, "seed": 0, "pad": 1, "flip": True, "colour": Colour(x, CPU)}
    whole, parted = (
        Batches(source, scaling, **settings),
        Batches(Resident(source.x, source.y), scaling, part=part, **settings),
    )
    for _ in range(3):
        (all_x, all_y), (part_x, part_y) = take(whole), take(parted)
        torch.testing.assert_close(part_x, all_x[part])  # a product of matrices rounds by their shapes
        assert torch.equal(part_y, all_y[part])
        assert parted.hash == whole.hash
    state = whole.state()
    for key, value in parted.state().items():
        assert torch.equal(value, state[key]) if isinstance(value, torch.Tensor) else value == state[key]


def test_a_state_contains_only_the_rest_of_the_pass():
    batches = stream(count=1000)
    batches.take()
    waiting = batches.state()["waiting"]
    assert len(waiting) == 996
    assert waiting.untyped_storage().nbytes() == 8 * 996


@pytest.mark.cuda
@pytest.mark.parametrize("augmentation", [{}, {"flip": True}, {"pad": 2, "flip": True}])
def test_a_graph_makes_the_images_of_every_batch(augmentation):
    batches = stream(channels=3, **augmentation)
    device = torch.device("cuda")
    scaling = Scaling(pixels(10, 3, 4, 4), "channel", device)
    source = Resident(batches.source.x.to(device), batches.source.y.to(device))
    there = Batches(source, scaling, batch_size=4, seed=0, **{"pad": 0, "flip": False} | augmentation)
    place = there.take()
    there.images(place)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        x, y = there.images(place)
    batches.take()
    for _ in range(5):
        place.numbers.copy_(there.take().numbers)
        graph.replay()
        expected_x, expected_y = take(batches)
        torch.testing.assert_close(x.cpu(), expected_x)
        assert torch.equal(y.cpu(), expected_y)
