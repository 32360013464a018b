import pytest
import torch

from depthbench.data.draws import Draws
from depthbench.data.files import POSITIONS


def make(batch_size=400, seed=0, **options):
    return Draws(400, batch_size=batch_size, seed=seed, **{"pad": 0, "flip": False} | options)


def test_only_the_requested_augmentation_is_drawn():
    drawn = make().next()
    assert drawn.colour is None
    assert drawn.crops is None
    assert drawn.numbers[1:].eq(0).all()


def test_crops_cover_every_scale_and_position():
    drawn = make(batch_size=4000, sides=(37, 40)).next()
    assert drawn.crops.image.tolist() == drawn.numbers[0].tolist()
    assert sorted(set(drawn.crops.side.tolist())) == [37, 38, 39, 40]
    for places in (drawn.crops.top, drawn.crops.left):
        assert places.min() >= 0
        assert places.max() < POSITIONS
        assert abs(places.mean() / POSITIONS - 0.5) < 0.03
    assert not (drawn.crops.top == drawn.crops.left).any()


def test_colour_shifts_are_normal_with_a_standard_deviation_of_0_1():
    colour = make(batch_size=4000, colours=3).next().colour
    assert colour.shape == (4000, 3)
    assert abs(colour.mean()) < 0.005
    assert abs(colour.std() - 0.1) < 0.003


def test_the_hash_covers_scales_and_colours():
    hashes = set()
    for options in ({}, {"sides": (37, 69)}, {"sides": (38, 69)}, {"colours": 3}, {"colours": 1}):
        for seed in (0, 1):
            draws = make(seed=seed, **options)
            draws.next()
            hashes.add(draws.hash)
    assert len(hashes) == 10


@pytest.mark.parametrize("taken", [0, 3])
def test_restored_draws_continue_identically(taken):
    options = {"batch_size": 7, "flip": True, "sides": (37, 69), "colours": 3}
    draws, again = make(**options), make(seed=5, **options)
    for _ in range(taken):
        draws.next()
    again.restore(draws.state())
    for _ in range(3):
        one, other = draws.next(), again.next()
        assert torch.equal(one.numbers, other.numbers)
        assert torch.equal(one.colour, other.colour)
        assert all((a == b).all() for a, b in zip(one.crops, other.crops, strict=True))
    assert draws.hash == again.hash
