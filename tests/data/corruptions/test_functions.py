import numpy as np
import pytest
import torch

from depthbench.data.corruptions import CORRUPTIONS
from depthbench.data.corruptions.corrupted import Corrupted

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (7, 3, 32, 24), dtype=np.uint8))
GREY = torch.full((7, 1, 16, 16), 100, dtype=torch.uint8)


def corrupted(x, name, strength, size=7, white=255):
    return torch.cat(list(Corrupted(x, name, strength, white).split(size)))


@pytest.mark.parametrize("name", ["rotated", "occluded", "noisy"])
def test_equal_images_are_corrupted_differently(name):
    equal = IMAGES[:1].expand(7, -1, -1, -1)
    images = corrupted(equal, name, CORRUPTIONS[name].strengths[1])
    assert not all(torch.equal(image, images[0]) for image in images)


@pytest.mark.parametrize("name", ["rotated", "blurred"])
def test_an_image_of_one_grey_stays_as_it_is(name):
    assert torch.equal(corrupted(GREY, name, CORRUPTIONS[name].strengths[-1]), GREY)  # no black corners


def test_a_square_of_a_quarter_of_the_side_hides_a_sixteenth():
    hidden = corrupted(GREY, "occluded", 0.25, white=16) == 8  # half of white
    assert hidden.sum((1, 2, 3)).tolist() == [16] * 7
    assert len({tuple(image.nonzero()[0].tolist()) for image in hidden}) > 1


def test_noise_has_the_stated_deviation_relative_to_white():
    for white, std in ((255, 16.0), (16, 16 / 255 * 16)):
        x = torch.full((4, 1, 64, 64), white // 2, dtype=torch.uint8)
        assert (corrupted(x, "noisy", 16, white=white).float() - white // 2).std() == pytest.approx(
            std, rel=0.06
        )
        assert corrupted(x, "noisy", 64, white=white).max() <= white


def test_a_rotation_of_90_degrees_goes_in_either_direction():
    x = torch.zeros(7, 1, 9, 9, dtype=torch.uint8)
    x[:, :, 0, 4] = 200  # the middle of the top goes to one side or the other
    places = {tuple(image.nonzero()[0].tolist()) for image in corrupted(x, "rotated", 90)}
    assert places == {(0, 4, 0), (0, 4, 8)}
