import math

import pytest
import torch
import torch.nn.functional as F

from depthbench.networks.tailored import cosine_map, final_cosine, tailored_slope


def test_the_map_of_relu_and_of_the_identity_are_known():
    assert cosine_map(0, 0) == pytest.approx(1 / math.pi)  # Cho & Saul 2009
    assert cosine_map(1, 0.3) == pytest.approx(1)
    for c in (-0.5, 0.0, 0.7):
        assert cosine_map(c, 1) == pytest.approx(c)


@pytest.mark.parametrize(("c", "slope"), [(0.0, 0.3), (0.6, 0.3), (-0.4, 0.05)])
def test_the_map_is_the_mean_product_of_correlated_normal_numbers(c, slope):
    x, z = torch.randn(2, 1_000_000, generator=torch.Generator().manual_seed(0))
    y = c * x + math.sqrt(1 - c**2) * z
    product = (F.leaky_relu(x, slope) * F.leaky_relu(y, slope)).mean() * 2 / (1 + slope**2)
    assert cosine_map(c, slope) == pytest.approx(product.item(), abs=0.005)


@pytest.mark.parametrize("layers", [19, 109, 1201])
@pytest.mark.parametrize("eta", [0.5, 0.9])
def test_the_composed_map_is_eta_at_orthogonal_inputs(layers, eta):
    slope = tailored_slope(layers, eta)
    assert 0 < slope < 1
    assert final_cosine(layers, slope) == pytest.approx(eta, abs=1e-9)


def test_a_network_too_shallow_for_eta_has_relu():
    assert final_cosine(1, 0) == pytest.approx(1 / math.pi)
    assert tailored_slope(1, 0.9) == 0
