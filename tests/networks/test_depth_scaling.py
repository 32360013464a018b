import pytest
import torch

from depthbench.networks import NETWORKS
from depthbench.networks.depth_scaling import DepthScaling
from depthbench.networks.task import IMAGES

SCALED = [
    name for name, family in NETWORKS.items() if "depth_alpha" in (family.takes or ()) and family.is_residual
]


def build(name, depth, **options):
    torch.manual_seed(0)
    family = NETWORKS[name]
    return family(depth, 192 if family.flattens or IMAGES not in family.reads else 3, 10, **options)


def inputs(name):
    if IMAGES not in NETWORKS[name].reads:
        return torch.randint(192, (2, 32))
    return torch.randn(2, 192, 1, 1) if NETWORKS[name].flattens else torch.randn(2, 3, 32, 32)


@pytest.mark.parametrize(("alpha", "factor"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.25)])
def test_the_factor_is_a_power_of_the_blocks_relative_to_the_base(alpha, factor):
    assert DepthScaling(alpha, 12, 3).branch == factor
    assert DepthScaling(alpha, 3, 3).branch == 1


@pytest.mark.parametrize("name", SCALED)
def test_a_scaled_network_is_the_one_with_that_branch_scale(name):
    """And at the base depth, it is the standard network."""
    depth = NETWORKS[name].depths.depth(2 if name == "transformer" else 1)
    small = {} if "imagenet" in name else {"width": 4}
    plain = build(name, depth, **small)
    blocks = len(plain.blocks())
    x = inputs(name)
    scaled = build(name, depth, depth_alpha=1.0, base_blocks=1, **small)
    expected = build(name, depth, branch_scale=1 / blocks, **small)
    at_base = build(name, depth, depth_alpha=1.0, base_blocks=blocks, **small)
    for one, other in ((scaled, expected), (at_base, plain)):
        assert torch.equal(one(x), other(x))


def test_a_plain_network_has_no_branches_to_scale():
    one, other = build("plain", 8, width=4), build("plain", 8, width=4, depth_alpha=1.0)
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(one(x), other(x))
    assert not any(block.branch_parameters() for block in other.blocks())


@pytest.mark.parametrize(
    ("name", "options", "outside"),
    [
        ("resnet", {"shortcut": "B"}, {"conv1", "norm1", "shortcut", "fc"}),
        ("preresnet", {"gate": "exclusive"}, {"conv1", "norm1", "norm_last", "gate", "fc"}),
        ("resnet", {"order": "norm_after_addition"}, {"conv1", "norm1", "norm2", "fc"}),
        ("layerscale", {}, {"conv1", "norm1", "norm_last", "fc"}),
        ("resnet_mlp", {}, {"input", "norm", "fc"}),
    ],
)
def test_a_block_names_the_parameters_of_its_branch(name, options, outside):
    network = build(name, 8, width=4, **options)
    inside = {id(p) for block in network.blocks() for p in block.branch_parameters()}
    names = [name.split(".") for name, p in network.named_parameters() if id(p) not in inside]
    blocks = ("stages", "hidden")
    assert {parts[3] if parts[0] in blocks else parts[0] for parts in names} == outside


@pytest.mark.parametrize("placement", ["pre", "lns", "post", "deepnorm"])
def test_a_branch_of_a_transformer_has_the_norm_before_it_but_not_the_norm_after_the_addition(placement):
    network = build("transformer", 2, width=4, placement=placement, learned_scale="channels")
    outside = ("norm.weight", "norm.bias") if placement in ("post", "deepnorm") else ()
    for block in network.blocks():
        inside = {id(p) for p in block.branch_parameters()}
        names = {name for name, p in block.named_parameters() if id(p) not in inside}
        assert names == {f"{part}.{name}" for part in ("attention", "mlp") for name in outside}
    assert not any(
        block.branch_parameters() for block in build("plain_transformer", 2, depth_alpha=1.0).blocks()
    )
