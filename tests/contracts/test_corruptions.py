"""Contract of every entry of CORRUPTIONS."""

import numpy as np
import pytest
import torch

from depthbench.data.corruptions import CORRUPTIONS
from depthbench.data.corruptions.corrupted import Corrupted

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (7, 3, 32, 24), dtype=np.uint8))
DIM = IMAGES // 16  # values 0 to 15, as the digits have
every_corruption = pytest.mark.parametrize("name", CORRUPTIONS)


def corrupted(
    x: torch.Tensor, name: str, strength: float, *, size: int = 7, white: int = 255
) -> torch.Tensor:
    return torch.cat(list(Corrupted(x, name, strength, white).split(size)))


@every_corruption
def test_it_documents_itself(name):
    entry = CORRUPTIONS[name]
    assert entry.about
    assert entry.unit
    assert entry.load().__doc__
    assert len(entry.strengths) >= 2
    assert list(entry.strengths) == sorted(set(entry.strengths))
    assert entry.strengths[0] > 0


@every_corruption
@pytest.mark.parametrize(("images", "white"), [(IMAGES, 255), (DIM, 16)])
def test_images_keep_their_type_shape_and_range(name, images, white):
    for strength in CORRUPTIONS[name].strengths:
        changed = corrupted(images, name, strength, white=white)
        assert (changed.dtype, changed.shape) == (torch.uint8, images.shape)
        assert changed.max() <= white
    assert Corrupted(images, name, strength, white).shape == images.shape


@every_corruption
def test_a_stronger_one_changes_images_more(name):
    before = 0.0
    for strength in CORRUPTIONS[name].strengths:
        changed = corrupted(IMAGES, name, strength).float()
        change = (changed - IMAGES.float()).square().mean((1, 2, 3))
        assert (change > 0).all()
        assert change.mean() > before
        before = change.mean()


@every_corruption
def test_an_image_depends_only_on_its_index(name):
    strength = CORRUPTIONS[name].strengths[1]
    torch.manual_seed(1)
    expected = corrupted(IMAGES, name, strength)
    state = torch.get_rng_state()
    for size in (1, 2, 7):
        assert torch.equal(corrupted(IMAGES, name, strength, size=size), expected)
    chosen = Corrupted(IMAGES, name, strength, 255).choose(np.array([5, 1, 6])).choose(np.array([0, 2]))
    assert torch.equal(torch.cat(list(chosen.split(1))), expected[[5, 6]])
    assert torch.equal(torch.get_rng_state(), state)  # it draws nothing from the generator of the run


@pytest.mark.cuda
@every_corruption
def test_a_gpu_sees_the_same_images(name):
    strength = CORRUPTIONS[name].strengths[-1]
    on_gpu = corrupted(IMAGES.cuda(), name, strength).cpu().int()
    assert (on_gpu - corrupted(IMAGES, name, strength).int()).abs().max() <= 1  # rounding may differ
