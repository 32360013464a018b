import torch
from torch import nn

from depthbench.probes.weight_norm import PROBE


def test_norm_of_the_weight_alone():
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    weight.grad = torch.tensor([[100.0, 100.0]])
    assert PROBE.of == "weight"
    assert PROBE.measure(weight) == 5.0
    assert not PROBE.measure(weight).requires_grad
