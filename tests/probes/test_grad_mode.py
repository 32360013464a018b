import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from depthbench.probes import PROBES
from depthbench.probes.grad_mode import GradMode
from depthbench.probes.probe import Probe
from depthbench.probes.recorder import Recorder


class Inner(nn.Module):
    """A layer in `torch.no_grad()`."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        with torch.no_grad():
            return self.layer(x)


def test_the_mode_is_that_of_the_call_of_the_network():
    network, mode, seen = Inner(), GradMode(), []
    network.layer.register_forward_hook(lambda *_: seen.append(mode.is_enabled()))
    handles = mode.hooks(network)
    x = torch.ones(1, 2)
    network(x)
    with torch.no_grad():
        network(x)
        network.layer(x)
    network.layer(x)
    assert seen == [True, False, False, True]
    assert len(handles) == 2


@pytest.mark.filterwarnings("ignore:None of the inputs")
def test_checkpointing_without_a_graph_counts_only_if_a_backward_pass_can_follow():
    layer, mode, seen = nn.Linear(2, 2), GradMode(), []
    layer.register_forward_hook(lambda *_: seen.append(mode.is_enabled()))
    for x in (torch.ones(1, 2, requires_grad=True), torch.ones(1, 2)):
        checkpoint(layer, x, use_reentrant=True)
    assert seen == [True, False]


def test_a_call_that_raises_is_forgotten():
    network, mode = Inner(), GradMode()
    mode.hooks(network)
    with pytest.raises(TypeError):
        network("no tensor")
    with torch.no_grad():
        assert not mode.is_enabled()


class WithTarget(nn.Module):
    """Computes a target with its own layers. Only the features are never used with gradients."""

    def __init__(self, is_first):
        super().__init__()
        self.features, self.hidden, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.seen, self.is_first = nn.Identity(), is_first

    def forward(self, x):
        target = self.target(3 * x) if self.is_first else None
        with torch.no_grad():
            x = self.features(x)
        out = self.last(self.seen(self.hidden(x)).relu())
        self.aim = self.target(3 * x) if target is None else target
        return out

    @torch.no_grad()
    def target(self, x):
        return self.last(self.seen(self.hidden(x)).relu())


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("at_once", [False, True])
def test_a_target_in_the_forward_pass_of_the_network_is_no_use(is_first, at_once):
    active = Probe("response", lambda response: (response > 0).float().mean())  # is not combined
    output = Probe("output", lambda output: output.mean(), where=nn.Identity)
    probes = {"response_std": PROBES["response_std"].load(), "active": active, "mean": output}
    torch.manual_seed(0)
    network, x = WithTarget(is_first), torch.randn(16, 4)
    recorder = Recorder(network, probes, at_once, each_use=2)
    with recorder:
        network(x).sum().backward()
        values = {row.name: value for row, value in zip(recorder.rows, recorder.values(), strict=True)}
    features = network.features(x)
    hidden = network.hidden(features)
    for name, z in {"features": features, "hidden": hidden, "last": network.last(hidden.relu())}.items():
        expected = [z.detach().double().std(correction=0).item(), (z > 0).float().mean().item()]
        assert values[name][:2].tolist() == pytest.approx(expected, rel=1e-6)
    assert values["seen"][2].item() == pytest.approx(hidden.mean().item(), rel=1e-6)
    assert values["hidden[0]"][0] == values["hidden"][0]
    assert values["hidden[1]"].isnan().all()
