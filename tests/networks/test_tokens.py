"""Transformers that read tokens: causality, twins, options and the arguments of builders."""

import pytest
import torch

from depthbench.networks import NETWORKS
from depthbench.networks.cost import count_multiply_adds
from depthbench.networks.layers import weighted_layers
from depthbench.networks.task import IMAGES, NEXT_TOKENS, TOKENS, Task
from depthbench.networks.tokens import TokenEmbedding

NEXT = Task((6,), 7, vocabulary=7, is_next=True)
CLASSES = Task((6,), 3, vocabulary=7)


def build(task, name="transformer", depth=2, seed=0, **options):
    torch.manual_seed(seed)
    family = NETWORKS[name]
    return family(depth=depth, **family.arguments(task), width=8, heads=2, **options).eval()


@pytest.mark.parametrize("name", ["transformer", "plain_transformer"])
@pytest.mark.parametrize("placement", ["pre", "post", "deepnorm", "lns"])
def test_a_token_is_predicted_from_those_before_it_alone(name, placement):
    network = build(NEXT, name, placement=placement)
    x = torch.randint(7, (3, 6))
    logits = network(x)
    assert logits.shape == (3, 6, 7)
    for position in range(6):
        changed = x.clone()
        changed[:, position:] = (changed[:, position:] + 1) % 7
        after = network(changed)
        assert torch.equal(after[:, :position], logits[:, :position])
        assert not torch.equal(after[:, position], logits[:, position])


def test_a_class_is_predicted_from_all_tokens_and_their_order():
    network = build(CLASSES)
    x = torch.tensor([[0, 1, 2, 3, 4, 5]])
    logits = network(x)
    assert logits.shape == (1, 3)
    for position in range(6):
        changed = x.clone()
        changed[0, position] = 6
        assert not torch.equal(network(changed), logits)
    assert not torch.allclose(network(x.flip(1)), logits)


@pytest.mark.parametrize("task", [NEXT, CLASSES])
def test_twins_begin_with_equal_weights(task):
    plain, residual = (
        dict(build(task, name).named_parameters()) for name in ("plain_transformer", "transformer")
    )
    assert plain.keys() == residual.keys()
    assert all(torch.equal(plain[name], residual[name]) for name in plain)


def test_the_embedding_multiplies_nothing_and_is_no_layer():
    network = build(NEXT)
    layers = [layer.name for layer in weighted_layers(network)]
    assert len(layers) == 2 * 6 + 1
    assert not any("tokens" in name for name in layers)
    blocks = 2 * (4 * 8 * 8 + 2 * 8 * 32)  # products of each token
    attention = 2 * 2 * 6 * 8  # of each token with 6 others: Q K^T and the product with V
    assert count_multiply_adds(network, (6,)) == 6 * (blocks + attention + 8 * 7)


def test_positions_are_sines_and_cosines_of_any_length():
    embedding = TokenEmbedding(5, 7)
    short, long = embedding.positions(3, torch.device("cpu")), embedding.positions(9, torch.device("cpu"))
    assert long.shape == (9, 7)
    assert torch.equal(long[:3], short)
    assert torch.equal(long[0], torch.tensor([0, 0, 0, 0, 1, 1, 1.0]))
    assert list(embedding.state_dict()) == ["embed.weight"]


def test_families_say_what_they_read():
    assert NETWORKS["transformer"].reads == {IMAGES, TOKENS, NEXT_TOKENS}
    assert NETWORKS["vdcnn"].reads == {TOKENS}
    assert NETWORKS["vdcnn"].arguments(CLASSES) == {"in_channels": 7, "num_classes": 3}
    assert NETWORKS["resnet"].reads == {IMAGES}
    assert NETWORKS["transformer"].arguments(Task((3, 8, 8), 10)) == {"in_channels": 3, "num_classes": 10}
