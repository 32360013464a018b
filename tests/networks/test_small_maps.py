import pytest
import torch
import torch.nn.functional as F

from depthbench.networks import NETWORKS, small_maps
from depthbench.networks.checkpointing import recompute_activations
from depthbench.networks.small_maps import Convolution, MatrixConvolution, convolution_3x3, only_torch
from depthbench.probes import DEFAULT, PROBES
from depthbench.probes.recorder import Recorder

CHANNELS_LAST = torch.channels_last


@pytest.fixture
def is_faster(monkeypatch):
    """Behave as on a processor whose fastest instructions are AVX2."""
    monkeypatch.setattr(small_maps, "IS_FASTER", True)


def drawn(*shape, dtype=torch.float64):
    made = torch.randn(shape, dtype=dtype).contiguous(memory_format=CHANNELS_LAST)
    return made.requires_grad_()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("pixels", [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_the_output_is_that_of_torchs_convolution(is_faster, pixels, bias):
    torch.manual_seed(0)
    conv = convolution_3x3(3, 5, bias).double().to(memory_format=CHANNELS_LAST)
    x, given = drawn(4, 3, *pixels), drawn(4, 5, *pixels).detach()
    z = conv(x)
    assert type(z.grad_fn).__name__ == ("AddBackward0" if bias else "MatrixConvolutionBackward")
    expected = F.conv2d(x, conv.weight, conv.bias, padding=1)
    torch.testing.assert_close(z, expected)
    wanted = (x, *conv.parameters())
    for ours, reference in zip(
        torch.autograd.grad(z, wanted, given), torch.autograd.grad(expected, wanted, given), strict=True
    ):
        torch.testing.assert_close(ours, reference)
        assert ours.stride() == reference.stride()


def test_derivatives_equal_finite_differences():
    torch.manual_seed(0)
    given = drawn(3, 2, 2, 2), drawn(4, 2, 3, 3)
    assert torch.autograd.gradcheck(MatrixConvolution.apply, given)
    assert torch.autograd.gradgradcheck(MatrixConvolution.apply, given)


def test_rounding_is_as_small_as_that_of_torchs_convolution(is_faster):
    torch.manual_seed(0)
    conv = convolution_3x3(64, 64, False).to(memory_format=CHANNELS_LAST)
    x, given = drawn(64, 64, 2, 2, dtype=torch.float32), drawn(64, 64, 2, 2, dtype=torch.float32).detach()
    exact, w, y = (t.detach().double().requires_grad_() for t in (given, conv.weight, x))
    expected = torch.autograd.grad(F.conv2d(y, w, padding=1), (y, w), exact)
    ours = torch.autograd.grad(conv(x), (x, conv.weight), given)
    reference = torch.autograd.grad(F.conv2d(x, conv.weight, padding=1), (x, conv.weight), given)
    for mine, other, true in zip(ours, reference, expected, strict=True):
        assert mine.stride() == other.stride()
        assert (mine - true).norm() < 4 * (other - true).norm()
        assert (mine - true).norm() < 1e-6 * true.norm()


@pytest.mark.parametrize("options", [{}, {"norm": "none", "order": "act_only_pre"}, {"dropout": 0.2}])
def test_recomputation_with_probes_gives_the_same_bits(is_faster, options):
    """The last stage of this network has maps of 2x2 pixels."""
    seen = []
    for recompute in (False, True):
        torch.manual_seed(0)
        network = NETWORKS["resnet"](depth=14, in_channels=1, num_classes=3, width=4, **options)
        network = network.to(memory_format=CHANNELS_LAST)
        if recompute:
            recompute_activations(network, (6, 1, 8, 8))
        recorder = Recorder(network, {name: PROBES[name].load() for name in DEFAULT})
        torch.manual_seed(1)  # masks of dropout
        x = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(2))
        with recorder:
            F.cross_entropy(network(x), torch.tensor([0, 1, 2, 0, 1, 2])).backward()
            seen.append([recorder.values(), *(p.grad for p in network.parameters())])
    for usual, again in zip(*seen, strict=True):
        assert torch.equal(usual, again)


def test_frozen_parameters_get_no_gradient(is_faster):
    conv = convolution_3x3(2, 2, False).to(memory_format=CHANNELS_LAST)
    conv.weight.requires_grad_(False)
    x = drawn(1, 2, 2, 2, dtype=torch.float32)
    conv(x).sum().backward()
    assert conv.weight.grad is None
    assert x.grad is not None
    conv.weight.requires_grad_(True)
    conv(x.detach()).sum().backward()
    assert conv.weight.grad is not None


def test_the_output_may_be_changed_in_place(is_faster):
    conv = convolution_3x3(2, 2, False).to(memory_format=CHANNELS_LAST)
    x = drawn(3, 2, 2, 2, dtype=torch.float32)
    F.relu_(conv(x)).sum().backward()
    (expected,) = torch.autograd.grad(F.relu(F.conv2d(x, conv.weight, padding=1)).sum(), x)
    torch.testing.assert_close(x.grad, expected)


def test_index_tensors_made_in_an_evaluation_work_in_training(is_faster):
    small_maps._taps.cache_clear()
    conv = convolution_3x3(2, 2, False).to(memory_format=CHANNELS_LAST)
    x = drawn(3, 2, 2, 2, dtype=torch.float32)
    with torch.inference_mode():
        seen = conv(x)
    z = conv(x)
    torch.autograd.grad(z.square().sum(), x, create_graph=True)  # saves the cached tensor
    assert torch.equal(z, seen)


@pytest.mark.parametrize("why", ["larger", "contiguous", "bf16", "other processor", "device"])
def test_other_shapes_use_torchs_convolution(is_faster, monkeypatch, why):
    conv = convolution_3x3(2, 2, False).to(memory_format=CHANNELS_LAST)
    x = drawn(1, 2, 2, 3 if why == "larger" else 2, dtype=torch.float32)
    if why == "contiguous":
        conv = conv.to(memory_format=torch.contiguous_format)
    if why == "other processor":
        monkeypatch.setattr(small_maps, "IS_FASTER", False)
    if why == "device":
        conv, x = conv.to("meta"), x.to("meta")
    with torch.autocast("cpu", torch.bfloat16, enabled=why == "bf16"):
        assert type(conv(x).grad_fn).__name__ == "ConvolutionBackward0"


def test_networks_can_be_built_with_torchs_convolutions_only():
    torch.manual_seed(0)
    ours = NETWORKS["resnet"](depth=8)
    torch.manual_seed(0)
    with only_torch():
        reference = NETWORKS["resnet"](depth=8)
    assert Convolution in {type(module) for module in ours.modules()}
    assert Convolution not in {type(module) for module in reference.modules()}
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), reference.parameters(), strict=True))
    assert type(convolution_3x3(1, 1, False)) is Convolution
