import pytest
import torch
from torch import nn

from depthbench.training.normalised_sgd import NormalisedSGD


def stepped(gradient, start=(0.0, 0.0), **settings):
    """Return a parameter after one update at rate 0.5."""
    weight = nn.Parameter(torch.tensor(start))
    weight.grad = torch.tensor(gradient)
    NormalisedSGD([{"params": [weight]}], 0.5, **settings).step()
    return weight.detach()


@pytest.mark.parametrize("size", [1e-40, 1e-30, 1.0, 1e30, 1e38])
def test_the_size_of_an_update_does_not_depend_on_that_of_the_gradient(size):
    torch.testing.assert_close(stepped([3 * size, 0.0]), torch.tensor([-0.5, 0.0]), rtol=1e-4, atol=0)
    torch.testing.assert_close(
        stepped([0.3 * size, -0.4 * size]), torch.tensor([-0.3, 0.4]), rtol=1e-4, atol=0
    )


def test_a_gradient_of_zero_stays_zero_and_a_broken_one_stays_broken():
    assert stepped([0.0, 0.0]).tolist() == [0, 0]
    assert not torch.isfinite(stepped([float("inf"), 1.0])).all()
    assert not torch.isfinite(stepped([float("nan"), 1.0])).any()


def test_weight_decay_is_added_to_the_normalised_gradient():
    torch.testing.assert_close(stepped([4.0, 0.0], (1.0, 2.0), weight_decay=0.1), torch.tensor([0.45, 1.9]))


def test_each_parameter_is_normalised_on_its_own_and_one_without_a_gradient_is_left():
    first, second, unused = (nn.Parameter(torch.zeros(1)) for _ in range(3))
    first.grad, second.grad = torch.tensor([1e6]), torch.tensor([-1e-6])
    NormalisedSGD([{"params": [first, second, unused]}], 0.5).step()
    assert [p.item() for p in (first, second, unused)] == pytest.approx([-0.5, 0.5, 0.0])


def test_momentum_sums_normalised_gradients():
    weight = nn.Parameter(torch.zeros(1))
    optimizer = NormalisedSGD([{"params": [weight]}], 0.5, momentum=0.5)
    for gradient in (100.0, 0.01):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
    assert weight.item() == pytest.approx(-0.5 * (1 + 1.5))
