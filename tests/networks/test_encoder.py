import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthbench.networks.encoder import Encoder, Shortcut, deepnorm_gain, deepnorm_scale
from depthbench.networks.families.transformer import TRANSFORMER_OPTIONS
from depthbench.networks.options import complete

WIDTH, HEADS, TOKENS = 16, 4, 5
PLACEMENTS = ["pre", "post", "deepnorm", "lns"]
TORCHS = {  # name of a parameter in torch.nn.TransformerEncoderLayer -> ours
    "self_attn.out_proj": "attention.output",
    "norm1": "attention.norm",
    "norm2": "mlp.norm",
    "linear1": "mlp.linear1",
    "linear2": "mlp.linear2",
}


def encoder(blocks=2, *, residual=True, is_causal=False, **options):
    torch.manual_seed(0)
    built = complete(TRANSFORMER_OPTIONS, {"width": WIDTH, "heads": HEADS} | options, residual=residual)
    network = Encoder(built, blocks, is_causal=is_causal)
    for name, parameter in network.named_parameters():  # norms whose scale and shift show
        if "norm" in name:
            nn.init.normal_(parameter, mean=1.0 if name.endswith("weight") else 0.0)
    return network


def tokens(batch=3):
    return torch.randn(batch, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))


def of_torch(block, norm_first):
    """Return torch's layer with the weights of one of our blocks."""
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, 0.0, norm_first=norm_first, batch_first=True)
    layer = layer.double()
    attention = block.attention
    projections = (attention.query, attention.key, attention.value)
    state = {
        "self_attn.in_proj_weight": torch.cat([each.weight for each in projections]),
        "self_attn.in_proj_bias": torch.cat([each.bias for each in projections]),
    }
    for theirs, ours in TORCHS.items():
        module = block.get_submodule(ours)
        state |= {f"{theirs}.weight": module.weight, f"{theirs}.bias": module.bias}
    layer.load_state_dict(state)
    return layer


@pytest.mark.parametrize(("placement", "norm_first"), [("pre", True), ("post", False)])
def test_pre_and_post_ln_are_those_of_torch(placement, norm_first):
    ours, x = encoder(blocks=3, placement=placement).double(), tokens().double()
    layers = [of_torch(block, norm_first) for block in ours.list_blocks()]
    y = x
    for layer in layers:
        y = layer(y)
    assert isinstance(ours.norm, nn.LayerNorm if norm_first else nn.Identity)
    torch.testing.assert_close(ours(x), ours.norm(y))
    ours(x).square().sum().backward()
    ours.norm(y).square().sum().backward()
    for block, layer in zip(ours.list_blocks(), layers, strict=True):
        torch.testing.assert_close(block.mlp.linear1.weight.grad, layer.linear1.weight.grad)
        gradients = [block.attention.get_submodule(name).weight.grad for name in ("query", "key", "value")]
        torch.testing.assert_close(torch.cat(gradients), layer.self_attn.in_proj_weight.grad)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_each_placement_by_its_equation(placement, residual):
    network, y = encoder(blocks=3, placement=placement, residual=residual), tokens()
    alpha = {"deepnorm": 6**0.25}.get(placement, 1.0) * residual
    expected = y
    for index, block in enumerate(network.list_blocks(), 1):
        for part in block.sub_layers().values():
            if placement in ("pre", "lns"):
                divisor = math.sqrt(index) if placement == "lns" else 1.0
                expected = alpha * expected + part.branch(part.norm(expected) / divisor)
            else:
                expected = part.norm(alpha * expected + part.branch(expected))
    torch.testing.assert_close(network(y), network.norm(expected))


@pytest.mark.parametrize(("blocks", "alpha", "beta"), [(8, 2.0, 0.5**1.5), (128, 4.0, 0.5**2.5)])
def test_the_factors_of_deepnorm(blocks, alpha, beta):
    assert deepnorm_scale(blocks) == pytest.approx(alpha)
    assert deepnorm_gain(blocks) == pytest.approx(beta)


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("residual", [True, False])
def test_with_a_causal_mask_a_position_does_not_depend_on_later_ones(placement, residual, is_causal):
    network = encoder(placement=placement, residual=residual, is_causal=is_causal).double()
    for t in range(TOKENS):
        x = tokens().double().requires_grad_()
        network(x)[:, t].sin().sum().backward()  # its sum alone is constant after a norm
        reached = x.grad.abs().amax((0, 2)) > 1e-12
        assert reached[: t + 1].all()
        assert not reached[t + 1 :].any() if is_causal else reached.all()


@pytest.mark.parametrize("norm", ["layer", "rms", "none"])
def test_norms_are_of_each_token(norm):
    part = encoder(token_norm=norm).list_blocks()[0].attention
    x = 3 + tokens()
    centred = x - x.mean(-1, keepdim=True) if norm == "layer" else x
    size = centred.square().mean(-1, keepdim=True).sqrt()
    expected = x if norm == "none" else centred / size * part.norm.weight
    shift = part.norm.bias if norm == "layer" else 0.0
    torch.testing.assert_close(part.norm(x), expected + shift, rtol=1e-4, atol=1e-4)


def test_scales_and_stochastic_depth_act_on_the_branch_alone():
    built = complete(
        TRANSFORMER_OPTIONS,
        {"branch_scale": 0.5, "learned_scale": "channels", "width": WIDTH, "placement": "deepnorm"},
        residual=True,
    )
    shortcut = Shortcut(built, 0.25, 8).eval()
    nn.init.constant_(shortcut.end[0].scale, 3.0)
    y, x = tokens(), tokens() + 1
    torch.testing.assert_close(shortcut(y, x), 0.5 * 0.25 * 3 * y + 2 * x)


def test_dropout_is_after_each_map_but_those_of_queries_keys_and_values():
    network, x = encoder(blocks=1, dropout=0.5, token_norm="none"), tokens(batch=200)
    part = network.list_blocks()[0].mlp
    hidden = []
    part.linear2.register_forward_pre_hook(lambda module, inputs: hidden.append(inputs[0]))
    part.train()
    added = part(x) - x
    part.eval()
    part(x)
    kept = hidden[0] != 0
    torch.testing.assert_close(hidden[0][kept], 2 * hidden[1][kept])
    for numbers in (hidden[0][hidden[1] != 0], added):
        assert 0.45 < (numbers == 0).float().mean() < 0.55
    queries = F.linear(x, part.linear1.weight)
    assert queries.ne(0).all()
