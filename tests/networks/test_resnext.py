import pytest
import torch
import torch.nn.functional as F
import torchvision.models

from depthbench.networks import NETWORKS
from depthbench.networks.cost import count_multiply_adds, count_parameters
from depthbench.networks.products import products_of
from depthbench.probes import PROBES
from depthbench.probes.recorder import Recorder
from tests.networks.torchvision_networks import assert_equal_to_torchvisions


@pytest.mark.parametrize(("cardinality", "parameters"), [(8, 34_426_698), (16, 68_155_210)])
def test_parameters_are_those_of_the_paper(cardinality, parameters):
    """Xie et al. 2017, Table 7: ResNeXt-29, 8x64d and 16x64d have 34.4 and 68.1 million."""
    with torch.device("meta"):
        assert count_parameters(NETWORKS["resnext"](depth=29, cardinality=cardinality)) == parameters


@pytest.fixture
def network():
    torch.manual_seed(0)
    return NETWORKS["resnext"](depth=11, width=4, cardinality=2, base_width=48, norm="none")


def test_each_group_sees_its_own_channels(network):
    """With `width` 4, base width 48 is 3 filters per group."""
    conv = network.stages[1][0].conv2
    assert (conv.groups, conv.in_channels, conv.stride) == (2, 12, (2, 2))
    x = torch.randn(2, 12, 6, 6)
    halves = [
        F.conv2d(x[:, part], conv.weight[part], conv.bias[part], stride=2, padding=1)
        for part in (slice(0, 6), slice(6, 12))
    ]
    torch.testing.assert_close(conv(x), torch.cat(halves, 1))


def test_multiply_adds_count_the_channels_of_a_group(network):
    products = 3 * 4 * 9 * 64 + 64 * 10
    for c_in, inner, pixels_in, pixels in ((4, 6, 64, 64), (16, 12, 64, 16), (32, 24, 16, 4)):
        c_out = {6: 16, 12: 32, 24: 64}[inner]
        products += c_in * inner * pixels_in  # the 3x3 convolution has the stride
        products += (9 * inner * inner // 2 + inner * c_out + c_in * c_out) * pixels
    assert count_multiply_adds(network, (3, 8, 8)) == products
    with products_of(network) as counter, torch.no_grad():
        network(torch.zeros(1, 3, 8, 8))
    assert counter.total == products


def test_probes_measure_grouped_weights():
    network = NETWORKS["resnext"](depth=11, width=4, cardinality=2, base_width=48)
    names = ["grad_norm_weight", "grad_norm_preact", "weight_norm", "response_std"]
    recorder = Recorder(network, {name: PROBES[name].load() for name in names})
    outputs, responses = {}, {}

    def keep(module, inputs, output):
        output.retain_grad()
        outputs[module] = output

    x, y = torch.randn(4, 3, 8, 8), torch.arange(4)
    grouped = [layer for layer in network.weighted_layers() if getattr(layer.weighted, "groups", 1) > 1]
    assert [layer.name for layer in grouped] == [f"stages.{s}.0.conv2" for s in range(3)]
    handles = [layer.weighted.register_forward_hook(keep) for layer in grouped]
    for layer in grouped:
        handles.append(
            layer.response.register_forward_hook(lambda norm, _, y: responses.update({norm: y.clone()}))
        )
    with recorder:
        F.cross_entropy(network(x), y).backward()
        values = dict(zip((row.name for row in recorder.rows), recorder.values(), strict=True))
    for handle in handles:
        handle.remove()
    for layer in grouped:
        conv = layer.weighted
        z = outputs[conv]
        std = responses[layer.response].std(correction=0)
        expected = [conv.weight.grad.norm(), z.grad.norm(), conv.weight.norm(), std]
        torch.testing.assert_close(values[layer.name].float(), torch.stack(expected))


@pytest.mark.parametrize(
    ("options", "name", "parameters"),
    [
        ({"depth": 50}, "resnext50_32x4d", 25_028_904),
        ({"depth": 101, "cardinality": 64}, "resnext101_64x4d", 83_455_272),
    ],
)
def test_for_imagenet_it_is_torchvisions(options, name, parameters):
    reference = getattr(torchvision.models, name)
    assert_equal_to_torchvisions(
        lambda: NETWORKS["resnext_imagenet"](**options), reference, parameters=parameters
    )


def test_multiply_adds_for_imagenet_are_those_of_the_paper():
    """Xie et al. 2017, Table 1: 4.2 billion."""
    with torch.device("meta"):
        network = NETWORKS["resnext_imagenet"](depth=50)
        assert count_multiply_adds(network, (3, 224, 224)) == pytest.approx(4.2e9, rel=0.01)
        assert len(network.weighted_layers()) == 50
