import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.networks.fusing import MAX_SHAPES, Fused, fuse
from depthbench.probes import DEFAULT, PROBES
from depthbench.probes.recorder import Recorder


def step(network):
    torch.manual_seed(1)
    loss = F.cross_entropy(network(torch.randn(8, 3, 8, 8)), torch.arange(8))
    loss.backward()
    return loss


@pytest.mark.parametrize("options", [{}, {"norm": "group"}, {"activation": "tanh"}, {"shortcut": "C"}])
@pytest.mark.parametrize("name", ["plain", "resnet"])
def test_a_fused_network_computes_the_same(name, options):
    torch.manual_seed(0)
    network = NETWORKS[name](depth=8, width=4, **options)
    fused = copy.deepcopy(network)
    fuse(fused, backend="aot_eager")  # traces without compiling kernels
    torch.testing.assert_close(step(fused), step(network))
    for (key, one), (_, other) in zip(network.named_parameters(), fused.named_parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, msg=key)
    for key, buffer in network.named_buffers():  # running statistics and their counter
        torch.testing.assert_close(fused.get_buffer(key), buffer, msg=key)
    x = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(fused.eval()(x), network.eval()(x))


def test_kernels_of_many_shapes_can_be_compiled():
    with torch._dynamo.config.patch(recompile_limit=1, accumulated_recompile_limit=1):
        fused = Fused("eager")
        for channels in (2, 3, 4):
            x = torch.randn(2, channels, 5, 5)
            expected = F.relu(F.batch_norm(x, None, None, training=True))
            torch.testing.assert_close(fused(nn.BatchNorm2d(channels), F.relu_, x), expected)
    network = NETWORKS["densenet_imagenet"](depth=264, growth=1)
    channels = {m.num_features for m in network.modules() if isinstance(m, nn.BatchNorm2d)}
    assert 64 < len(channels) < MAX_SHAPES


def test_a_probed_step_measures_the_parts(monkeypatch):
    torch.manual_seed(0)
    network = NETWORKS["resnet"](depth=8, width=4)
    fused = copy.deepcopy(network)
    fuse(fused, backend="aot_eager")
    values = []
    for each in (network, fused):
        recorder = Recorder(each, {name: PROBES[name].load() for name in DEFAULT})
        with recorder:
            step(each)
            values.append(recorder.values())
    assert torch.equal(*values)


def test_a_network_without_respond_is_refused():
    with pytest.raises(BadInput, match="--step captured"):
        fuse(nn.Sequential(nn.Linear(2, 2)))
