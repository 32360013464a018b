import pytest
import torch
from torch import nn

from depthbench.networks.components import (
    ACTIVATIONS,
    Scale,
    halve,
    initialise,
    make_nonlinearity,
    make_norm,
    to_side,
)
from depthbench.networks.families.cifar import CIFAR_OPTIONS
from depthbench.networks.options import CHOICES, complete


def convolution(init):
    torch.manual_seed(0)
    layer = nn.Conv2d(64, 128, 3)  # fan_in 576, fan_out 1152; 73,728 weights
    initialise([layer], init)
    return layer


@pytest.mark.parametrize(
    ("init", "variance"),
    [("he", 2 / 576), ("xavier", 2 / (576 + 1152)), ("normal:0.01", 1e-4), ("normal:2e-1", 4e-2)],
)
def test_variance_of_an_initialisation(init, variance):
    layer = convolution(init)
    assert layer.weight.var().item() == pytest.approx(variance, rel=0.02)  # 4 standard errors
    assert layer.weight.mean().abs() < 4 * (variance / 73_728) ** 0.5
    assert layer.bias.eq(0).all()


def test_he_is_normal_and_xavier_uniform():
    he, xavier = (convolution(init).weight for init in ("he", "xavier"))
    assert xavier.abs().max() <= (6 / 1728) ** 0.5
    assert he.abs().max() > 3 * he.std()


def test_orthogonal_rows_are_orthonormal():
    weight = convolution("orthogonal").weight.flatten(1)  # (128, 576)
    torch.testing.assert_close(weight @ weight.T, torch.eye(128), rtol=0, atol=1e-5)


def test_a_linear_layer_is_initialised_too():
    layer = nn.Linear(400, 200)
    torch.manual_seed(0)
    initialise([layer], "he")
    assert layer.weight.var().item() == pytest.approx(2 / 400, rel=0.02)
    assert layer.bias.eq(0).all()


@pytest.mark.parametrize(
    ("norm", "channels", "groups"),
    [("layer", 16, 1), ("group", 16, 2), ("group", 8, 1), ("group", 12, 1), ("group", 4, 1)],
)
def test_group_and_layer_norm_work_on_each_image_alone(norm, channels, groups):
    x = 3 + 2 * torch.randn(2, channels, 4, 4, generator=torch.Generator().manual_seed(0))
    y = make_norm(norm, channels)(x).reshape(2, groups, -1)
    torch.testing.assert_close(y.mean(2), torch.zeros(2, groups), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.var(2, correction=0), torch.ones(2, groups), rtol=1e-4, atol=0)


def test_batch_norm_works_on_each_channel_of_the_batch():
    x = 3 + 2 * torch.randn(4, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    y = make_norm("batch", 5)(x)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(5), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.var((0, 2, 3), correction=0), torch.ones(5), rtol=1e-4, atol=0)


def test_no_norm_changes_nothing():
    x = torch.ones(1, 3, 2, 2)
    assert make_norm("none", 3)(x) is x


@pytest.mark.parametrize(
    ("name", "minus_one", "one"),
    [
        ("relu", 0, 1),
        ("tanh", -0.761594, 0.761594),
        ("sigmoid", 0.268941, 0.731059),
        ("gelu", -0.158655, 0.841345),
        ("silu", -0.268941, 0.731059),
        ("elu", -0.632121, 1),
        ("selu", -1.111331, 1.050701),
        ("leaky_relu", -0.01, 1),
        ("softplus", 0.313262, 1.313262),
        ("identity", -1, 1),
    ],
)
def test_activations(name, minus_one, one):
    assert ACTIVATIONS[name](torch.tensor([-1.0, 1.0])).tolist() == pytest.approx([minus_one, one], abs=1e-6)


def test_a_study_may_name_every_activation_and_norm_that_can_be_built():
    assert set(CHOICES["activation"]) == set(ACTIVATIONS)
    for norm in CHOICES["norm"]:
        assert isinstance(make_norm(norm, 8), nn.Module)


def test_a_scale_is_one_number_or_one_per_channel():
    x = torch.arange(16.0).view(2, 2, 2, 2)
    assert torch.equal(Scale(0.5)(x), x / 2)
    per_channel = Scale(1, 2, 1, 1)
    with torch.no_grad():
        per_channel.scale[1] = 3
    assert torch.equal(per_channel(x), torch.stack([x[:, 0], 3 * x[:, 1]], 1))
    assert [tuple(p.shape) for p in per_channel.parameters()] == [(2, 1, 1)]


def test_pooling_halves_each_side_down_to_one_pixel():
    x = torch.arange(10.0).view(1, 1, 2, 5)
    assert halve(x).tolist() == [[[[6, 8]]]]
    assert halve(halve(x)).tolist() == [[[[8]]]]
    assert halve(halve(halve(x))).tolist() == [[[[8]]]]


def test_a_map_is_averaged_to_a_side_or_repeated():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert to_side(x, 4) is x
    assert to_side(x, 2).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
    assert to_side(x[:, :, :1, :1], 2).tolist() == [[[[0, 0], [0, 0]]]]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(4, 6, 3, padding=1), (2, 4, 5, 5)),
        (nn.Conv2d(4, 8, 3, padding=1, groups=2), (2, 4, 5, 5)),
        (nn.Conv1d(4, 4, 5, padding=2), (2, 4, 7)),
        (nn.Conv2d(4, 4, 1), (2, 4, 3, 3)),
        (nn.Linear(4, 6), (2, 4)),
    ],
)
def test_delta_orthogonal_layers_keep_the_norm_exactly(layer, shape):
    """Xiao et al. 2018, sec. 3: also at the borders, unlike other orthogonal convolutions."""
    initialise([layer.double()], "delta_orthogonal")
    x = torch.randn(shape, dtype=torch.float64)
    y = layer(x)
    torch.testing.assert_close(y.square().sum(1), x.square().sum(1))  # in every pixel
    assert layer.bias.eq(0).all()


def test_a_stack_of_delta_orthogonal_layers_has_dynamical_isometry():
    """All singular values of the Jacobian are 1, while those of He initialisation spread."""
    for init, lowest, highest in (("delta_orthogonal", 1, 1), ("he", 0, 0.1)):
        layers = [nn.Conv2d(3, 3, 3, padding=1, bias=False).double() for _ in range(20)]
        torch.manual_seed(0)
        initialise(layers, init)
        x = torch.eye(27, dtype=torch.float64).view(27, 3, 3, 3)
        jacobian = nn.Sequential(*layers)(x).flatten(1)
        values = torch.linalg.svdvals(jacobian)
        condition = (values[-1] / values[0]).item()
        assert lowest - 1e-9 <= condition <= highest + 1e-9


def test_tat_keeps_the_second_moment_at_the_slope_of_the_depth():
    options = {"activation": "leaky_relu", "tat_eta": 0.9}
    z = torch.randn(400_000, generator=torch.Generator().manual_seed(0))
    slopes = []
    for depth in (20, 110):
        activation = make_nonlinearity(complete(CIFAR_OPTIONS, options, residual=False, depth=depth)).in_place
        assert activation(z).square().mean().item() == pytest.approx(1, abs=0.01)
        slopes.append((activation(-z.abs()) / activation(z.abs())).abs().mean().item())
    assert slopes == pytest.approx([0.16444, 0.58643], abs=2e-3)
