import torch
import torch.nn.functional as F
from torch import nn

from depthbench.networks import Family
from depthbench.networks.eager import as_eager, was_compiled
from depthbench.probes import DEFAULT, PROBES
from depthbench.probes.recorder import Recorder

BACKEND = "eager"  # a backend that only traces


def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Sequential(nn.Linear(5, 5), nn.ReLU()), nn.Linear(5, 3))


def wholly():
    return torch.compile(make(), backend=BACKEND)


def partly():
    network = make()
    network[1] = torch.compile(network[1], backend=BACKEND)
    return network


def in_place():
    network = make()
    network[1].compile(backend=BACKEND)
    return network


class Function(nn.Module):
    """A network that calls a compiled function of its modules."""

    def __init__(self):
        super().__init__()
        self.body = make()
        self.compiled = torch.compile(self.body.forward, backend=BACKEND)

    def forward(self, x):
        return self.compiled(x)


def values_of(network):
    recorder = Recorder(network, {name: PROBES[name].load() for name in DEFAULT})
    torch.manual_seed(1)
    with recorder:
        F.cross_entropy(network(torch.randn(6, 4)), torch.arange(6) % 3).backward()
        return recorder.values()


def test_a_compiled_network_is_measured_as_its_original():
    expected = values_of(make())
    assert not expected.isnan().any()
    for build in (wholly, partly, in_place):
        network = Family(lambda build=build, **options: build())(depth=3)
        assert was_compiled(network)
        assert network.state_dict().keys() == make().state_dict().keys()
        assert torch.equal(values_of(network), expected)
    assert torch.equal(values_of(Function()), expected)


def test_other_networks_stay_as_they_are():
    network = make()
    assert as_eager(network) is network
    assert not was_compiled(network)
