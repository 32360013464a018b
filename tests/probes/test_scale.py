import torch
from torch import nn

from depthbench.networks.components import Scale
from depthbench.probes import PROBES
from depthbench.probes.recorder import Recorder


def test_it_is_the_mean_absolute_value_of_each_scale():
    network = nn.Sequential(nn.Conv2d(3, 2, 3), Scale(-0.5), Scale(0.0, 2, 1, 1), nn.Flatten())
    with torch.no_grad():
        network[2].scale.copy_(torch.tensor([1.0, -3.0]).view(2, 1, 1))
    recorder = Recorder(network, {"scale": PROBES["scale"].load()})
    with recorder:
        network(torch.randn(2, 3, 4, 4)).sum().backward()
        values = recorder.values()[:, 0]
    measured = {row.name: v.item() for row, v in zip(recorder.rows, values, strict=True) if row.selected_by}
    assert measured == {"1.scale": 0.5, "2.scale": 2.0}
