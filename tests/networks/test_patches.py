import pytest
import torch

from depthbench.errors import BadInput
from depthbench.networks.patches import Patches, grid_positions, waves


def test_tokens_are_the_pixels_of_each_patch_by_row():
    images = torch.randn(2, 3, 4, 6)
    pixels = Patches(3, 2, 8).cut(images)
    assert pixels.shape == (2, 6, 12)
    assert torch.equal(pixels[1, 0], images[1, :, :2, :2].flatten())
    assert torch.equal(pixels[1, 2], images[1, :, :2, 4:].flatten())
    assert torch.equal(pixels[1, 3], images[1, :, 2:, :2].flatten())


def test_each_patch_is_embedded_and_gets_its_position():
    images, patches = torch.randn(2, 1, 4, 6), Patches(1, 2, 8)
    expected = patches.embed(patches.cut(images)) + grid_positions(2, 3, 8)
    torch.testing.assert_close(patches(images), expected)


@pytest.mark.parametrize("width", [4, 6, 64])
def test_positions_are_distinct_waves_of_row_and_column(width):
    positions = grid_positions(3, 5, width)
    assert positions.shape == (15, width)
    assert len({tuple(position.tolist()) for position in positions}) == 15
    half = 2 * (-(-width // 4))
    by_row = positions[:, :half].reshape(3, 5, -1)
    assert torch.equal(by_row, by_row[:, :1].expand_as(by_row))
    torch.testing.assert_close(
        waves(torch.tensor([3]), 1)[0],
        torch.tensor([3.0, 3.0]).sin()
        + torch.tensor([0.0, torch.tensor(3.0).cos() - torch.tensor(3.0).sin()]),
    )


def test_one_network_takes_images_of_several_sizes():
    patches = Patches(1, 2, 8)
    assert [patches(torch.randn(1, 1, side, 4)).shape[1] for side in (4, 8, 4)] == [4, 8, 4]
    assert not dict(patches.named_buffers())


@pytest.mark.parametrize(
    ("side", "patch", "sides"),
    [((8, 8), 3, "2 or 4"), ((8, 12), 8, "4"), ((4, 4), 16, "4"), ((7, 5), 2, "1")],
)
def test_images_that_patches_do_not_fill_are_refused(side, patch, sides):
    message = f"images of {side[0]}x{side[1]} pixels cannot be cut .* {patch}x{patch}; .* to {sides}$"
    with pytest.raises(BadInput, match=message):
        Patches(1, patch, 8)(torch.zeros(1, 1, *side))
