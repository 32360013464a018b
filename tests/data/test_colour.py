import numpy as np
import pytest
import torch

from depthbench.data import statistics
from depthbench.data.colour import Colour

CPU = torch.device("cpu")


def test_each_component_is_added_by_its_eigenvalue_by_hand():
    """Two equal channels of variance v have one component, (1, 1) / sqrt(2), of variance 2 v."""
    x = np.zeros((2, 2, 1, 1), np.uint8)
    x[1] = 102  # 0 and 0.4 of 255: a variance of 0.04 a channel
    shift = Colour(x, CPU)(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert shift.shape == (2, 2, 1, 1)
    assert shift[0].flatten().abs().tolist() == pytest.approx([255 * 0.08 / 2**0.5] * 2, rel=1e-5)
    assert shift[0, 0] == pytest.approx(shift[0, 1])
    assert shift[1].abs().max() < 1e-5


def test_against_numpy():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (300, 3, 5, 4), dtype=np.uint8)
    x[:, 1] = x[:, 0] // 2 + x[:, 1] // 2
    covariance = np.cov(x.transpose(1, 0, 2, 3).reshape(3, -1) / 255, bias=True)
    drawn = rng.standard_normal((7, 3))
    values, vectors = np.linalg.eigh(covariance)
    shifts = Colour(x, CPU)(torch.from_numpy(drawn).float()).flatten(1).double().numpy()
    size = np.linalg.norm(drawn * values * 255, axis=1)
    np.testing.assert_allclose(np.linalg.norm(shifts, axis=1), size, rtol=1e-4)
    along = np.abs(shifts @ vectors)  # the sign of an eigenvector is free
    np.testing.assert_allclose(along, np.abs(drawn * values * 255), rtol=1e-3, atol=1e-3)


def test_the_sign_of_a_computed_eigenvector_does_not_matter(monkeypatch):
    x = np.random.default_rng(1).integers(0, 256, (50, 3, 4, 4), dtype=np.uint8)
    x[:, 2] = 255 - x[:, 0] // 2
    shifts, eigh = Colour(x, CPU).shifts, np.linalg.eigh
    for signs in ([-1, 1, 1], [1, -1, -1], [-1, -1, -1]):
        with monkeypatch.context() as patch:
            patch.setattr(np.linalg, "eigh", lambda a, signs=signs: (eigh(a)[0], eigh(a)[1] * signs))
            assert torch.equal(Colour(x, CPU).shifts, shifts)
    largest = shifts.abs().argmax(0)
    assert (shifts[largest, torch.arange(3)] > 0).all()


def test_chunks_and_order_do_not_matter(monkeypatch):
    x = np.random.default_rng(2).integers(0, 256, (60, 3, 4, 4), dtype=np.uint8)
    shifts = Colour(x, CPU).shifts
    monkeypatch.setattr(statistics, "MAX_IMAGES", 7)
    assert torch.equal(Colour(x[::-1], CPU).shifts, shifts)


def test_a_grey_image_has_one_component():
    x = np.arange(16, dtype=np.uint8).reshape(4, 1, 2, 2)
    assert Colour(x, CPU)(torch.ones(2, 1)).shape == (2, 1, 1, 1)
