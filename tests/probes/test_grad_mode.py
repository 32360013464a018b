import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from depthbench.probes.grad_mode import GradMode


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
