"""Multiply-adds equal those computed by hand, in a plan (`count`) and in a record (`count_multiply_adds`)."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from depthbench.networks.cost import count, count_multiply_adds
from depthbench.networks.products import ProductCounter

T, E, H = 6, 8, 16  # tokens, features of each, units


class On(nn.Module):
    """A module on the image (B, 1, T, E) as a sequence, or a function of it and of the module."""

    def __init__(self, module, function=lambda module, x: module(x)):
        super().__init__()
        self.module, self.function = module, function

    def forward(self, x):
        return self.function(self.module, x.squeeze(1))  # (B, T, E)


def attend(module, x):
    return module(x, x, x)[0]


def learned_query(module, x):
    return module(torch.ones(len(x), 3, E), x, x, need_weights=False)[0]


def functional(module, x):
    return F.conv1d(F.linear(x, module.weight).mT, module.weight[:, :, None])


def products(module, x):
    weight = module.weight
    return (
        torch.einsum("bte,he->bth", x, weight),
        x @ weight.T,
        torch.bmm(x, x.mT),
        torch.baddbmm(torch.zeros(1), x, x.mT),
        x[:, 0] @ weight[0],
        torch.stack([torch.dot(each[0], weight[0]) for each in x]),
    )


def scaled_dot_product(module, x):
    y = x.unflatten(2, (2, E // 2)).transpose(1, 2)
    return F.scaled_dot_product_attention(y, y[..., :4, :], y[..., :4, :3])


MHA = 4 * T * E * E + 2 * T * T * E

CASES = {
    "linear": (On(nn.Linear(E, H)), T * E * H),
    "attention": (On(nn.MultiheadAttention(E, 2, batch_first=True), attend), MHA),
    "attention with other widths": (
        On(nn.MultiheadAttention(E, 2, kdim=E, vdim=E, batch_first=True, bias=False), attend),
        MHA,
    ),
    "attention with a learned query": (
        On(nn.MultiheadAttention(E, 2, batch_first=True), learned_query),
        (3 + T + T + 3) * E * E + 2 * 3 * T * E,
    ),
    "encoder layer": (On(nn.TransformerEncoderLayer(E, 2, H, batch_first=True)), MHA + 2 * T * E * H),
    "encoder": (
        On(
            nn.TransformerEncoder(nn.TransformerEncoderLayer(E, 2, H, batch_first=True), 3),
            lambda module, x: module(x, src_key_padding_mask=torch.zeros(len(x), T).bool()),
        ),
        3 * (MHA + 2 * T * E * H),
    ),
    "decoder layer": (
        On(nn.TransformerDecoderLayer(E, 2, H, batch_first=True), lambda module, x: module(x, x)),
        2 * MHA + 2 * T * E * H,
    ),
    "fused attention": (On(nn.Identity(), scaled_dot_product), 2 * T * 4 * (E // 2 + 3)),
    "lstm": (On(nn.LSTM(E, H, batch_first=True)), T * 4 * H * (E + H)),
    "two bidirectional lstms": (
        On(nn.LSTM(E, H, 2, batch_first=True, bidirectional=True)),
        T * 2 * 4 * H * ((E + H) + (2 * H + H)),
    ),
    "projected lstm": (On(nn.LSTM(E, H, batch_first=True, proj_size=3)), T * (4 * H * (E + 3) + 3 * H)),
    "gru": (On(nn.GRU(E, H, batch_first=True)), T * 3 * H * (E + H)),
    "rnn": (On(nn.RNN(E, H, batch_first=True)), T * H * (E + H)),
    "lstm cell": (On(nn.LSTMCell(E, H), lambda module, x: module(x[:, 0])), 4 * H * (E + H)),
    "transposed convolution": (On(nn.ConvTranspose1d(T, 4, 3, stride=2)), T * E * 4 * 3),
    "transposed convolution in groups": (On(nn.ConvTranspose1d(T, 4, 3, groups=2)), T * E * 2 * 3),
    "convolution in groups": (On(nn.Conv1d(T, 4, 3, groups=2, padding="same")), E * 4 * 3 * 3),
    "depthwise convolution": (On(nn.Conv1d(T, T, 3, groups=T, bias=False)), (E - 2) * T * 3),
    "embedding": (On(nn.Embedding(3, 5), lambda module, x: module(x.long())), 0),
    "bilinear": (On(nn.Bilinear(E, E, 5), lambda module, x: module(x, x)), T * E * E * 5),
    "functional": (On(nn.Linear(E, E), functional), 2 * T * E * E),
    "products": (On(nn.Linear(E, H), products), 2 * T * E * H + 2 * T * T * E + E + E),
    "used twice": (On(nn.Linear(E, E), lambda module, x: module(module(x))), 2 * T * E * E),
    "weight_norm": (On(parametrizations.weight_norm(nn.Linear(E, H))), T * E * H),
    "older weight_norm": (On(nn.utils.weight_norm(nn.Linear(E, H))), T * E * H),
    "spectral_norm": (On(parametrizations.spectral_norm(nn.Linear(E, H))), T * E * H),
    "older spectral_norm": (On(nn.utils.spectral_norm(nn.Linear(E, H))), T * E * H),
    "orthogonal": (On(parametrizations.orthogonal(nn.Linear(E, H))), T * E * H),
    "no products": (On(nn.LayerNorm(E), lambda module, x: module(x).relu() * x), 0),
}


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("case", CASES)
def test_multiply_adds_are_those_counted_by_hand(case):
    network, expected = CASES[case]
    network.scale = nn.Parameter(torch.ones(1))  # all networks have a parameter
    assert count_multiply_adds(network, (1, T, E)) == expected
    network.train()
    assert count(network, (2, 1, T, E)).multiply_adds == expected


def test_multiply_adds_equal_those_of_torchs_counter():
    from torch.utils.flop_counter import FlopCounterMode

    layer = nn.Conv2d(4, 6, 3, groups=2, stride=2)
    with FlopCounterMode(display=False) as counter:
        layer(torch.zeros(2, 4, 9, 9))
    with ProductCounter() as counted:
        layer(torch.zeros(2, 4, 9, 9))
    assert counted.total == counter.get_total_flops() // 2


def test_counting_leaves_the_fast_path_of_attention_as_it_was():
    assert torch.backends.mha.get_fastpath_enabled()
    count_multiply_adds(CASES["attention"][0], (1, T, E))
    assert torch.backends.mha.get_fastpath_enabled()
    with pytest.raises((RuntimeError, AssertionError)):
        count_multiply_adds(CASES["attention"][0], (1, T, E + 1))
    assert torch.backends.mha.get_fastpath_enabled()
