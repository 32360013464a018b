import pytest
import torch
from torch import nn

from depthbench.networks import NETWORKS
from depthbench.networks.encoder import BranchSum
from depthbench.probes import PROBES
from depthbench.probes.branch_share import share, share_of_all, share_with_parts
from depthbench.probes.recorder import Recorder


def test_it_is_the_branch_relative_to_what_the_shortcut_carries():
    torch.manual_seed(0)
    network = NETWORKS["transformer"](depth=2, width=8, in_channels=1, placement="deepnorm", branch_scale=0.5)
    recorder, x = Recorder(network, {"branch_share": PROBES["branch_share"].load()}), torch.randn(3, 1, 8, 8)
    with recorder:
        network(x).sum().backward()
        values = recorder.values()[:, 0]
    measured = {row.name: v.item() for row, v in zip(recorder.rows, values, strict=True) if row.selected_by}
    expected, stream = {}, network.patches(x)
    for b, block in enumerate(network.blocks()):
        for name, part in block.sub_layers().items():
            ratio = 0.5 * part.branch(stream).std() / ((2 * 2) ** 0.25 * stream.std())
            expected[f"encoder.blocks.{b}.{name}.shortcut.sum"] = pytest.approx(ratio.item(), rel=1e-5)
            stream = part(stream)
    assert measured == expected


def test_a_plain_network_has_no_branches():
    network = NETWORKS["plain_transformer"](depth=2, width=8, in_channels=1)
    assert not any(isinstance(module, BranchSum) for module in network.modules())


def test_the_share_of_several_uses_is_that_of_all_numbers():
    parts = [(torch.randn(3, 4) + 5, torch.randn(3, 4)), (2 * torch.randn(5, 2), torch.randn(5, 2))]
    whole = [torch.cat([part.flatten() for part in tensors]) for tensors in zip(*parts, strict=True)]
    summaries = torch.stack([share_with_parts(*part) for part in parts])
    torch.testing.assert_close(share_of_all(summaries, [12, 10]), share(*whole))


class Twice(nn.Module):
    """A sum that a step uses twice."""

    def __init__(self):
        super().__init__()
        self.map, self.sum = nn.Linear(4, 4), BranchSum()

    def forward(self, x):
        for _ in range(2):
            x = self.sum(self.map(x), x)
        return x


def test_a_module_that_is_used_twice_is_measured_over_both_uses():
    network, x = Twice(), torch.randn(6, 4)
    recorder = Recorder(network, {"branch_share": PROBES["branch_share"].load()})
    with recorder:
        network(x).sum().backward()
        value = recorder.values()[-1, 0]
    once = x + network.map(x)
    expected = share(torch.cat([network.map(x), network.map(once)]), torch.cat([x, once]))
    torch.testing.assert_close(value, expected)
