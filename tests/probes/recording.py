"""Networks, batches and probes for the tests of the recorder."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from depthbench.networks import NETWORKS
from depthbench.probes import DEFAULT, PROBES
from depthbench.probes.recorder import Recorder

ALL = {name: PROBES[name].load() for name in DEFAULT}


def build(name="plain", dtype=torch.float32, **options):
    torch.manual_seed(0)
    return NETWORKS[name](depth=8, width=4, **options).to(dtype)


def recorded(network, x, y, probes=ALL):
    recorder = Recorder(network, probes)
    with recorder:
        F.cross_entropy(network(x), y).backward()
        return recorder.values()


def hooks(network):
    return sum(len(module._forward_hooks) + len(module._backward_hooks) for module in network.modules())


class Repeated(nn.Module):
    """A layer that is applied twice, without and with recomputed activations."""

    def __init__(self, reentrant=None, layers=1):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(4, 5)
        self.hidden = nn.ModuleList(nn.Linear(5, 5) for _ in range(layers))
        self.last = nn.Linear(5, 3)
        self.reentrant, self.outputs = reentrant, []

    def apply_hidden(self, k, x):
        z = self.hidden[k % len(self.hidden)](x)
        if z.requires_grad and self.reentrant is None:
            z.retain_grad()
            self.outputs.append(z)
        return z.relu()

    def forward(self, x):
        x = self.first(x).relu()
        for k in range(2):
            if self.reentrant is None:
                x = self.apply_hidden(k, x)
            else:
                x = checkpoint(self.apply_hidden, k, x, use_reentrant=self.reentrant)
        return self.last(x)


def labelled():
    torch.manual_seed(1)
    return torch.randn(6, 4), torch.arange(6) % 3
