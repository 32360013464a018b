"""Contract of every built-in family."""

import importlib
import inspect
import re
import subprocess
import sys
from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS, Family
from depthbench.networks.checkpointing import recompute_activations
from depthbench.networks.fusing import fuse
from depthbench.networks.layers import weighted_layers
from depthbench.networks.options import CHOICES, INITS, NetworkOptions
from depthbench.networks.task import IMAGES
from depthbench.registry import Entry
from depthbench.study.model import Recipe

BUILT_FROM = ("depth", "in_channels", "num_classes")
SIDE = 8  # of the images, in pixels, where a network takes such small ones
LENGTH, VOCABULARY = 16, 7  # of sequences


def shallowest(name):
    return NETWORKS[name].depths.depth(1)


def shape(name):
    """Return the shape of an image, or of a sequence for networks that read no images."""
    side = max(SIDE, NETWORKS[name].smallest_side)
    return (3, side, side) if IMAGES in NETWORKS[name].reads else (LENGTH,)


def inputs(name, count):
    """Return a batch of `count` images or sequences."""
    if IMAGES in NETWORKS[name].reads:
        return torch.randn(count, *shape(name))
    return torch.randint(VOCABULARY, (count, LENGTH))


def channels(name):
    """Return `in_channels` for these inputs."""
    is_of_images = IMAGES in NETWORKS[name].reads
    return NETWORKS[name].in_channels(shape(name)) if is_of_images else VOCABULARY


def build(name, **options):
    family = NETWORKS[name]
    torch.manual_seed(0)
    return family(depth=shallowest(name), in_channels=channels(name), num_classes=3, **small(name) | options)


def small(name):
    """Return options that make a network small."""
    sizes = {"width": 4, "growth": 4, "widen": 2}
    if name.startswith("googlenet"):
        sizes["width"] = 1  # so that few of its 57 convolutions differ in shape, each of which is compiled
    return {key: size for key, size in sizes.items() if key in NETWORKS[name].takes}


def type_of(option):
    """Return the type of an option, without None and constraints."""
    annotation = NetworkOptions.model_fields[option].annotation
    kinds = [kind for kind in get_args(annotation) or (annotation,) if kind is not type(None)]
    return get_args(kinds[0])[0] if get_args(kinds[0]) else kinds[0]


def choices_of(name):
    """Iterate over values of every option of a family, one at a time."""
    of_type = {
        float: (0.5,),
        bool: (True, False),
        int: (4,),
        str: (*INITS, "normal:0.01"),
    }
    needed = {"tat_eta": {"activation": "leaky_relu"}}
    for key in sorted(NETWORKS[name].takes - small(name).keys()):
        for value in CHOICES.get(key) or of_type[type_of(key)]:
            yield {key: value} | needed.get(key, {})


@pytest.mark.parametrize("name", NETWORKS)
def test_the_module_of_its_name_in_families_describes_each_network(name):
    module, _ = NETWORKS[name].target.removeprefix("depthbench.networks.").split(":")
    described = importlib.import_module(f"depthbench.networks.families.{module}")
    assert getattr(described, name.upper()) is NETWORKS[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_builder_takes_the_options_of_its_family(name):
    """The builder names no option, because an option is declared once."""
    family = NETWORKS[name]
    builder = inspect.signature(family.load())
    assert tuple(builder.parameters)[:3] == BUILT_FROM
    builder.bind(shallowest(name), 3, 10, **family.options)
    for option in sorted(NetworkOptions.model_fields.keys() - family.takes):
        with pytest.raises(TypeError, match=f"takes no option '{option}'"):
            build(name, **{option: 1})


@pytest.mark.parametrize("name", NETWORKS)
def test_a_builder_alone_completes_its_options(name):
    """A plug-in calls the builder itself, or lists it as an entry or family of its own."""
    family, target = NETWORKS[name], NETWORKS[name].target
    arguments = {"depth": shallowest(name), "in_channels": channels(name), "num_classes": 3}
    sizes = small(name) if name.endswith("_imagenet") else {}  # the full size takes long
    fixed = {**family.options, **sizes}
    torch.manual_seed(0)
    expected = family(*arguments.values(), **sizes).state_dict()
    for builder in (Family(target, "mine", fixed), Entry(target, "mine", fixed)):
        torch.manual_seed(0)
        state = builder(**arguments).state_dict()
        assert list(state) == list(expected)
        assert all(torch.equal(state[key], expected[key]) for key in state)
    network = family.load()(*arguments.values(), **fixed)
    assert network(inputs(name, 2)).shape == (2, 3)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_can_be_pickled(name, tmp_path):
    network = build(name, **{"dropout": 0.1} if "dropout" in NETWORKS[name].takes else {}).eval()
    torch.save(network, tmp_path / "network.pt")
    x = inputs(name, 2)
    assert torch.equal(torch.load(tmp_path / "network.pt", weights_only=False)(x), network(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_value_of_every_option_builds(name):
    for options in choices_of(name):
        network = build(name, **options)
        assert network(inputs(name, 2)).shape == (2, 3), options


@pytest.mark.parametrize("name", NETWORKS)
def test_an_unset_option_is_the_default_at_the_depth(name):
    family, depth = NETWORKS[name], shallowest(name)
    defaults = {key: value for key, value in family.defaults(depth).items() if key in family.takes}
    assert None not in defaults.values()
    bare, explicit = build(name), build(name, **defaults | small(name))
    for a, b in zip(bare.state_dict().values(), explicit.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    x = inputs(name, 2)
    assert torch.equal(bare.eval()(x), explicit.eval()(x))
    assert torch.equal(bare(x), build(name, shortcut=None).eval()(x) if "shortcut" in defaults else bare(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_twins_name_each_other_and_differ_in_residual_connections_only(name):
    family = NETWORKS[name]
    if family.twin is None:
        assert family.matched  # in words: what it is matched with, and what cannot be matched
        return
    twin = NETWORKS[family.twin]
    assert twin.twin == name
    assert family.options["residual"] is not twin.options["residual"]
    assert family.is_residual == (not twin.is_residual)
    facts = ("target", "depths", "takes", "flattens", "fuses", "unset", "unset_at", "bottlenecks_from")
    for fact in (*facts, "structure"):
        assert getattr(family, fact) == getattr(twin, fact)
    plain, residual = (dict(build(key).named_parameters()) for key in (name, family.twin))
    shared = set(plain) & set(residual)
    assert {key for key in set(plain) ^ set(residual) if "shortcut" not in key} == set()
    assert all(torch.equal(plain[key], residual[key]) for key in shared)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_depth_is_the_number_of_weighted_layers(name):
    """A family whose paper counts others says so."""
    is_equal = len(weighted_layers(build(name))) == shallowest(name)
    assert is_equal == (not NETWORKS[name].depth_counts)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_seed_decides_all_weights(name):
    one, other = build(name), build(name)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_fuses_is_true_exactly_for_networks_that_can_be_fused(name):
    assert hasattr(build(name), "respond") == NETWORKS[name].fuses


@pytest.mark.parametrize("name", NETWORKS)
def test_recomputed_activations_change_no_bit_and_fused_kernels_little(name):
    """Also with random numbers, which the second pass must draw again."""
    draws = {"dropout": 0.3, "survival": 0.6, "drop_path": 0.3}
    drawn = {key: value for key, value in draws.items() if key in NETWORKS[name].takes}
    x, y = inputs(name, 6), torch.arange(6) % 3

    def step(change):
        network = build(name, **drawn)
        change(network)
        torch.manual_seed(1)
        F.cross_entropy(network(x), y).backward()
        return [*(p.grad for p in network.parameters()), *network.buffers()]

    expected = step(lambda network: None)
    recomputed = step(lambda network: recompute_activations(network, (6, *shape(name))))
    assert all(torch.equal(a, b) for a, b in zip(expected, recomputed, strict=True))
    if NETWORKS[name].fuses and name != "densenet_imagenet":  # densenet_bc has its blocks in fewer shapes
        fused = step(lambda network: fuse(network, "eager"))
        for a, b in zip(expected, fused, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_stages_of_a_structure_are_those_of_the_network(name):
    structure = NETWORKS[name].structure
    if structure is not None:
        stages = {layer.stage for layer in weighted_layers(build(name))} - {"input", "conv1", "dense", "fc"}
        assert stages == set(structure.halvings)
        network = build(name)
        per_block = (shallowest(name) - structure.other_layers) / len(network.blocks())
        assert structure.layers_per_block == per_block


@pytest.mark.parametrize("name", NETWORKS)
def test_protocols_are_valid_recipes(name):
    for protocol in NETWORKS[name].protocols.values():
        recipe = Recipe(**protocol.recipe)
        assert protocol.unstated <= set(Recipe.model_fields)
        assert all(getattr(recipe, key) == value for key, value in protocol.recipe.items())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_memory_bound_covers_options_that_the_family_takes(name):
    bound = NETWORKS[name].memory
    if bound is not None:
        assert bound.covers <= NETWORKS[name].takes


@pytest.mark.parametrize("name", NETWORKS)
def test_every_family_has_a_description(name):
    kinds = {True: "residual", False: "plain", None: ""}
    assert NETWORKS[name].about.startswith(kinds[NETWORKS[name].is_residual])
    assert re.search(r"\([A-Z].* \d{4}.*\)$", NETWORKS[name].about)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_unknown_value_or_option_is_refused(name):
    key = sorted(NETWORKS[name].takes & CHOICES.keys())[0]
    with pytest.raises(BadInput, match=rf"{key} = 'bach': should be {CHOICES[key][0]}, "):
        build(name, **{key: "bach"})
    with pytest.raises(TypeError, match="squeeze"):
        build(name, squeeze=2)
    depth = shallowest(name) - 1
    with pytest.raises(BadInput, match=rf"depth {depth} .*use .*\b{shallowest(name)}\b"):
        NETWORKS[name](depth=depth, in_channels=3)


def test_every_option_belongs_to_some_family():
    used = frozenset().union(*(family.takes for family in NETWORKS.values()))
    assert used == set(NetworkOptions.model_fields)


def test_convolutions_see_images_and_linear_maps_pixels():
    assert NETWORKS["plain_mlp"].in_channels((3, 4, 5)) == 60
    assert NETWORKS["plain"].in_channels((3, 4, 5)) == 3


def test_naming_a_network_needs_no_torch():
    code = "import sys, depthbench.networks, depthbench.catalog; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", [name for name, family in NETWORKS.items() if family.smallest_side > 1])
def test_smaller_images_than_the_smallest_leave_nothing(name):
    side = NETWORKS[name].smallest_side
    network = build(name).eval()
    assert network(torch.zeros(1, 3, side, side)).shape == (1, 3)
    with pytest.raises(RuntimeError, match="too small"):
        network(torch.zeros(1, 3, side - 1, side - 1))
