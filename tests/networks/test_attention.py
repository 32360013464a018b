import pytest
import torch
from torch import nn

from depthbench.networks.attention import PROJECTIONS, projected, projection


@pytest.mark.parametrize("sizes", [{}, {"kdim": 6, "vdim": 3}])
@pytest.mark.parametrize("bias", [True, False])
def test_a_projection_has_its_own_rows_of_the_weight_gradient_and_bias(sizes, bias):
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(4, 2, bias=bias, **sizes)
    if bias:
        nn.init.normal_(attention.in_proj_bias)
    inputs = {"q_proj": 4, "k_proj": sizes.get("kdim", 4), "v_proj": sizes.get("vdim", 4)}
    sum(p.square().sum() for p in attention.parameters()).backward()
    for place, name in enumerate(PROJECTIONS):
        weight, x = projection(attention, name).weight, torch.randn(5, inputs[name])
        assert weight.shape == (4, inputs[name])
        assert torch.equal(weight.grad, 2 * weight)
        z = x @ weight.T + (attention.in_proj_bias[4 * place :][:4] if bias else 0)
        torch.testing.assert_close(projected(attention, name, x), z)


def test_a_projection_without_a_parameter_of_its_own_has_no_weight():
    attention = nn.MultiheadAttention(4, 2)
    nn.utils.parametrizations.weight_norm(attention, "in_proj_weight")
    assert projection(attention, "q_proj") is None
