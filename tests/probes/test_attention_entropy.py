import math

import pytest
import torch

from depthbench.networks import NETWORKS
from depthbench.probes import PROBES
from depthbench.probes.attention_entropy import entropy
from depthbench.probes.recorder import Recorder


def test_equal_attention_has_the_entropy_log_t_and_attention_to_one_token_none():
    queries, keys = torch.zeros(2, 3, 7, 4), torch.randn(2, 3, 7, 4)
    assert entropy(queries, keys, keys).item() == pytest.approx(math.log(7))
    assert entropy(1e4 * keys, keys, keys).item() == pytest.approx(0, abs=1e-6)


def test_with_a_causal_mask_query_t_has_t_keys():
    queries, keys = torch.zeros(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    expected = sum(math.log(t) for t in (1, 2, 3, 4)) / 4
    assert entropy(queries, keys, keys, True).item() == pytest.approx(expected)


def test_it_is_measured_in_each_attention():
    torch.manual_seed(0)
    network = NETWORKS["plain_transformer"](depth=2, width=8, heads=2, in_channels=1)
    recorder = Recorder(network, {"attention_entropy": PROBES["attention_entropy"].load()})
    x = torch.randn(3, 1, 8, 8)
    with recorder:
        network(x).sum().backward()
        values = recorder.values()[:, 0]
    measured = {row.name: v.item() for row, v in zip(recorder.rows, values, strict=True) if row.selected_by}
    attention = network.blocks()[0].attention
    y = attention.norm(network.patches(x))
    q, k = (each(y).unflatten(-1, (2, 4)).transpose(1, 2) for each in (attention.query, attention.key))
    p = (q @ k.transpose(2, 3) / 2).softmax(-1)
    assert list(measured) == [f"encoder.blocks.{b}.attention.attend" for b in range(2)]
    expected = -(p * p.log()).sum(-1).mean().item()
    assert measured["encoder.blocks.0.attention.attend"] == pytest.approx(expected, rel=1e-5)
