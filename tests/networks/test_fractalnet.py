import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.networks.checkpointing import recompute_activations
from depthbench.networks.cost import count_multiply_adds, count_parameters
from depthbench.networks.fractalnet import ColumnChoice


def build(depth=20, **options):
    torch.manual_seed(0)
    return NETWORKS["fractalnet"](depth=depth, **{"width": 2, **options})


def fractal(block, columns, x, start=0):
    """Return f_C(x) by the recursion of the paper, with joins of more than two inputs flattened.

    `start` is the layer of the deepest column at which this fractal begins."""
    return sum(parts := ends(block, columns, x, start)) / len(parts)


def ends(block, columns, x, start):
    """Return the outputs of the columns that f_C joins at its end."""
    count = len(block.columns)
    length = 2 ** (columns - 1)
    own = block.layers_of(count - columns)[start // length](x)
    if columns == 1:
        return [own]
    middle = fractal(block, columns - 1, x, start)
    return [own, *ends(block, columns - 1, middle, start + length // 2)]


@pytest.mark.parametrize("depth", [5, 10, 20, 40])
def test_a_block_is_the_recursion_of_the_paper(depth):
    block, x = build(depth).eval().blocks()[0], torch.randn(2, 3, 4, 4)
    columns = len(block.columns)
    assert depth == 5 * 2 ** (columns - 1)
    torch.testing.assert_close(block(x), F.max_pool2d(fractal(block, columns, x), 2))


@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_column_alone_is_a_plain_network(column):
    network, x = build().eval(), torch.randn(2, 3, 8, 8)
    network.choice.draw = lambda device: None
    network.choice.weights = (torch.arange(3) == column).float()
    y = x
    for block in network.blocks():
        for layer in block.layers_of(column):
            y = F.relu(layer.norm(layer.conv(y)))
        y = F.max_pool2d(y, 2, ceil_mode=True)
    torch.testing.assert_close(network(x), network.fc(y.mean((2, 3))))


def test_half_of_the_steps_use_one_column_and_the_others_drop_inputs_of_joins():
    choice, cpu = ColumnChoice(3, 0.4), torch.device("cpu")
    torch.manual_seed(0)
    chosen, kept = [], []
    for _ in range(2000):
        choice.draw(cpu)
        weights = choice.of_join(0, cpu)
        assert weights.sum() == pytest.approx(1)
        if choice.weights.any():
            assert torch.equal(weights, choice.weights.float())
            column = int(weights.argmax())
            chosen.append(column)
            finer = choice.of_join(1, cpu)  # of the columns 1 and 2
            assert finer.tolist() == ([0.5, 0.5] if column == 0 else [column == 1, column == 2])
        else:
            kept.append(int((weights > 0).sum()))
    assert len(chosen) == pytest.approx(1000, abs=90)  # 4 standard deviations
    assert [chosen.count(column) / len(chosen) for column in range(3)] == pytest.approx([1 / 3] * 3, abs=0.06)
    # of three inputs that are each kept at 0.6, and one of them if all would be dropped
    expected = [3 * 0.6 * 0.4**2 + 0.4**3, 3 * 0.6**2 * 0.4, 0.6**3]
    assert [kept.count(n) / len(kept) for n in (1, 2, 3)] == pytest.approx(expected, abs=0.065)


def test_the_weights_agreed_on_are_used_by_all_joins():
    """Processes that train together take those of rank 0, whatever they drew themselves."""
    choice, cpu, drawn = ColumnChoice(3, 0.4), torch.device("cpu"), []
    choice.agree = lambda weights: drawn.append(weights) or torch.tensor([False, True, False])
    for _ in range(8):
        choice.draw(cpu)
        assert choice.of_join(0, cpu).tolist() == [0, 1, 0]
    assert len({tuple(weights.tolist()) for weights in drawn}) > 1


@pytest.mark.parametrize("recomputes", [False, True])
def test_steps_of_one_column_do_not_change_the_statistics_of_evaluation(recomputes):
    """Evaluation uses all columns, whose mean varies less than one column. Its statistics do not fit."""
    network = build(10, drop_path=0.4)
    if recomputes:
        recompute_activations(network, (8, 3, 8, 8))
    torch.manual_seed(0)
    changed = {True: [], False: []}
    for _ in range(20):
        before = [b.clone() for b in network.buffers() if b.is_floating_point()]
        F.cross_entropy(network(torch.randn(8, 3, 8, 8)), torch.arange(8)).backward()
        after = [b for b in network.buffers() if b.is_floating_point()]
        is_global = bool(network.choice.weights.any())
        changed[is_global] += [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert changed[True]
    assert not any(changed[True])
    assert all(changed[False])


def test_evaluation_and_no_drop_path_draw_nothing():
    x, before = torch.randn(2, 3, 8, 8), torch.get_rng_state()
    build().eval()(x)
    build(drop_path=0.0)(x)
    torch.set_rng_state(before)
    network = build(drop_path=0.0)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    network(x)
    network.eval()(x)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(block.dropout for block in network.blocks())


def test_a_step_is_reproducible_with_recomputed_activations():
    results = []
    for recomputes in (False, True):
        network = build(drop_path=0.4)
        if recomputes:
            recompute_activations(network, (8, 3, 8, 8))
        torch.manual_seed(3)
        for _ in range(3):
            F.cross_entropy(network(torch.randn(8, 3, 8, 8)), torch.arange(8)).backward()
        results.append([p.grad for p in network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_parameters_and_multiply_adds_counted_by_hand():
    network = build(10)  # 3 layers in each of 5 blocks: two in a row, and one beside them
    parameters = products = 0
    for c_in, c_out, side in ((3, 2, 16), (2, 4, 8), (4, 8, 4), (8, 16, 2), (16, 16, 1)):
        weights = 9 * (2 * c_in * c_out + c_out * c_out)
        parameters += weights + 3 * 2 * c_out
        products += weights * side**2
    assert count_parameters(network) == parameters + 17 * 10
    assert count_multiply_adds(network, (3, 16, 16)) == products + 160


def test_layers_are_those_of_the_deepest_column():
    layers = build().weighted_layers()
    assert [layer.stage for layer in layers] == [*"11112222333344445555", "fc"]
    assert layers[0].name == "stages.0.columns.2.0.conv"
    assert isinstance(layers[0].response, nn.BatchNorm2d)


def test_gradients_reach_every_parameter_of_all_columns():
    network = build(drop_path=0.0)
    F.cross_entropy(network(torch.randn(8, 3, 32, 32)), torch.arange(8)).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_other_depths_are_refused():
    with pytest.raises(BadInput, match="depth 30 does not exist; use 20 or 40"):
        build(30)
