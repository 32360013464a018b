import torch
import torch.nn.functional as F

from depthbench.networks import NETWORKS
from depthbench.networks.cost import count_parameters


def build(name="fixup", depth=20, **options):
    torch.manual_seed(0)
    return NETWORKS[name](depth, 3, 10, width=4, **options)


def test_every_block_begins_as_its_shortcut_and_the_logits_at_zero():
    network = build()
    for block in network.blocks():
        x = torch.rand(2, block.conv1.in_channels, 8, 8)
        assert torch.equal(block(x), block.add.shortcut(x))
    assert network(torch.randn(2, 3, 8, 8)).eq(0).all()


def test_initial_weights_are_those_of_the_plain_network_times_the_factor_of_the_rule():
    """L^(-1/(2m - 2)) with L = 9 blocks of m = 2 convolutions."""
    fixup, plain = build(), build("plain", norm="none")
    for block, other in zip(fixup.blocks(), plain.blocks(), strict=True):
        torch.testing.assert_close(block.conv1.weight, other.conv1.weight / 3)
        assert block.conv2.weight.eq(0).all()
    assert torch.equal(fixup.conv1.weight, plain.conv1.weight)
    assert fixup.fc.weight.eq(0).all()
    assert fixup.fc.bias.eq(0).all()


def test_parameters_are_the_weights_and_five_numbers_per_block():
    """4 biases and a factor per block, one bias after the first and one before the last layer."""
    plain = build("plain", 110, norm="none")
    biases = sum(layer.weighted.bias.numel() for layer in plain.weighted_layers()[:-1])
    assert count_parameters(build(depth=110)) == count_parameters(plain) - biases + 5 * 54 + 2


def test_the_gradient_reaches_one_more_kind_of_layer_in_each_of_the_first_steps():
    network = build(depth=14).double()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    x, y = torch.randn(8, 3, 8, 8, dtype=torch.float64), torch.arange(8)
    reached = []
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        layers = network.weighted_layers()
        reached.append({layer.name for layer in layers if layer.weighted.weight.grad.ne(0).any()})
        optimizer.step()
    assert reached[0] == {"fc"}
    assert reached[1] == {"fc", "conv1", *(layer.name for layer in layers if layer.name.endswith(".conv2"))}
    assert reached[2] == {layer.name for layer in layers}
