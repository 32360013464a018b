"""Networks that cannot be trained, or only with a note, as builders (depth, in_channels, num_classes)."""

import math
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS, Family
from depthbench.networks.check import (
    Subject,
    check_depths,
    check_network,
    depths_to_compare,
    examine,
    notes_on_seeds,
)
from depthbench.networks.cost import count_multiply_adds
from depthbench.networks.family import DepthRule
from depthbench.networks.task import IMAGES

SHAPE, CLASSES = (1, 8, 8), 10


def subject(builder, **facts):
    return Subject(Family(builder, "a network", **facts), "mine", SHAPE, CLASSES)


def stack(depth, in_channels, num_classes, *end):
    hidden = [nn.Linear(64, 64) for _ in range(depth - 1)]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, num_classes), *end)


class After(nn.Module):
    """A network of `depth` layers whose output a function changes."""

    def __init__(self, change, depth, num_classes):
        super().__init__()
        self.change, self.network = change, stack(depth, 1, num_classes)

    def forward(self, x):
        return self.change(self.network(x), self.training)


def after(change):
    return lambda depth, in_channels, num_classes: After(change, depth, num_classes)


def frozen(depth, in_channels, num_classes):
    return stack(depth, in_channels, num_classes).requires_grad_(False)


def complex_(depth, in_channels, num_classes):
    network = stack(depth, in_channels, num_classes)
    network.phase = nn.Parameter(torch.zeros(3, dtype=torch.complex64))
    return network


class WrongShape(nn.Module):
    def __init__(self, depth, in_channels, num_classes):
        super().__init__()
        self.flatten, self.features = nn.Flatten(), nn.Linear(63, 32)
        self.head = nn.Linear(32, num_classes)

    def forward(self, x):
        return self.head(self.features(self.flatten(x)))


def endless(depth, in_channels, num_classes):
    return endless(depth, in_channels, num_classes)


def raises(depth, in_channels, num_classes):
    raise ValueError("no such width\nin two lines")


@pytest.fixture
def scripted():
    """Return a network in TorchScript, whose compiler warns that it is deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(stack(3, 1, CLASSES))


def test_torchscript_is_refused(scripted):
    with pytest.raises(BadInput, match=r"'mine' at depth 3: it is compiled to TorchScript, .* without torch"):
        check_network(subject(lambda **sizes: scripted), 3)
    with pytest.raises(BadInput, match=r"its module '0' is compiled to TorchScript"):
        check_network(subject(lambda **sizes: nn.Sequential(scripted)), 3)


def exits(depth, in_channels, num_classes):
    sys.exit(0)


class Unused(nn.Sequential):
    """A network that calls its first layer only."""

    def forward(self, x):
        return self[0](x)


def fails_in_evaluation(y, training):
    if not training:
        raise ValueError("not trained yet")
    return y


def doubles(depth, in_channels, num_classes):
    torch.set_default_dtype(torch.float64)
    return stack(depth, in_channels, num_classes)


class BadCode(nn.Sequential):
    """A network whose list of layers cannot be read."""

    def __init__(self, depth, in_channels, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(64, num_classes))

    def weighted_layers(self):
        raise KeyError("layer4")


class BadBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        raise ArithmeticError("no derivative")


PROBLEMS = {
    "its builder raised ValueError: no such width in two lines; fix its plug-in": raises,
    "its builder raised SystemExit: 0; fix": exits,
    "its builder changes torch's default dtype from float32 to float64 .*; set it back": doubles,
    "no batch reaches its lazy layer 1, which": lambda **sizes: Unused(nn.Flatten(), nn.LazyLinear(9)),
    "its forward pass raised SystemExit: 0 for images": after(lambda y, t: sys.exit(0)),
    "its code raised KeyError: 'layer4'; fix its plug-in": BadCode,
    "its builder calls itself too often": endless,
    "its builder returned a dict; return a torch.nn.Module": lambda **sizes: {},
    "it has no parameters": lambda **sizes: nn.Flatten(),
    "all its parameters are frozen": frozen,
    "its parameter phase is complex": complex_,
    r"layer 'features' raised RuntimeError: mat1 and mat2 .* for images 4x1x8x8": WrongShape,
    "in training mode, it returns 4x5 numbers for 4 images of 10 classes; end it with": (
        lambda depth, in_channels, num_classes: stack(depth, in_channels, 5)
    ),
    "it returns 4x12 numbers": lambda depth, in_channels, num_classes: stack(depth, in_channels, 12),
    "it returns 4x10x1x1 numbers": after(lambda y, training: y[..., None, None]),
    "in training mode, it returns 1x10 numbers": after(lambda y, training: y.mean(0, keepdim=True)),
    "in evaluation mode, it returns 4x1 numbers": after(
        lambda y, training: y if training else y.argmax(1, keepdim=True)
    ),
    "in evaluation mode only, its forward pass raised ValueError: not trained": after(fails_in_evaluation),
    "in training mode, it returns one number for 4 images": after(lambda y, training: y.sum()),
    "it accepts a batch of 4 images, but raised RuntimeError: shape .* for a batch of 2; let it accept any": (
        after(lambda y, training: y.view(4, 10))
    ),
    "it accepts a batch of 4 images, but returned 1x10 numbers for a batch of 3": (
        after(lambda y, training: y[: len(y) // 2 * 2] if len(y) != 3 else y[:1])
    ),
    "it returns an empty dict, in which no logits": after(lambda y, training: {}),
    "it returns a dict with the keys out, where `out` should be a tensor of logits but is a list": after(
        lambda y, training: {"out": [y]}
    ),
    "its builder returned the class Linear; return": lambda depth, in_channels, num_classes: nn.Linear,
    "its logits are torch.int64": after(lambda y, training: y.long()),
    "its backward pass raised ArithmeticError: no derivative": after(lambda y, t: BadBackward.apply(y)),
    "no gradient reaches any parameter": after(lambda y, training: y.detach()),
    "its builder raised TypeError": lambda depth: nn.Linear(1, 1),
}


@pytest.mark.parametrize(("problem", "builder"), PROBLEMS.items())
def test_what_cannot_be_trained_is_named_in_one_line(problem, builder):
    with pytest.raises(BadInput, match=rf"^network 'mine' at depth 3: .*{problem}") as error:
        check_network(subject(builder), 3)
    assert "\n" not in str(error.value)


TUPLE = "a tuple; its logits are its first element, and its other parts are ignored"


class TrainReturnsNothing(nn.Sequential):
    """Overrides `train` without `return self`."""

    def __init__(self, depth, in_channels, num_classes):
        super().__init__(*stack(depth, in_channels, num_classes))

    def train(self, mode=True):
        super().train(mode)


@pytest.mark.parametrize(
    ("builder", "notes"),
    [
        (stack, []),
        (TrainReturnsNothing, []),
        (after(lambda y, t: (y, y)), [f"mine returns {TUPLE}"]),
        (
            after(lambda y, t: {"aux": y, "logits": y}),
            [
                "mine returns a dict with the keys aux, logits; its logits are `logits`, and its other "
                "parts are ignored"
            ],
        ),
        (after(lambda y, t: {"out": y}), ["mine returns a dict with the keys out; its logits are `out`"]),
        (
            after(lambda y, t: (y, y) if t else y),
            [f"in training mode, mine returns {TUPLE}"],
        ),
        (
            after(lambda y, t: y / 0 if t else y),
            ["mine of depth 3: its logits are not finite at initialisation"],
        ),
        (
            after(lambda y, t: y if t else y * math.nan),
            ["mine of depth 3: its logits are not finite at initialisation"],
        ),
        (
            lambda depth, in_channels, num_classes: stack(2, in_channels, num_classes),
            ["mine of depth 3 has 2 weighted layers"],
        ),
        (
            lambda depth, in_channels, num_classes: nn.Sequential(
                nn.Flatten(), nn.LazyLinear(9), nn.LazyLinear(9), nn.LazyLinear(num_classes)
            ),
            [],
        ),
    ],
)
def test_what_can_be_trained_gets_notes(builder, notes):
    state = torch.random.get_rng_state()
    assert check_network(subject(builder), 3) == notes
    assert torch.equal(torch.random.get_rng_state(), state)  # a check changes no later random number


class Shell(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.layer, self.inner = nn.Linear(16, 16), inner

    def forward(self, x):
        return self.inner(self.layer(x))


def nested(depth, in_channels, num_classes):
    network = nn.Linear(16, num_classes)
    for _ in range(depth - 2):
        network = Shell(network)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), network)


def test_a_network_that_nests_too_deeply_is_refused_with_a_depth_that_works():
    with pytest.raises(
        BadInput, match=r"nested too deeply for Python; use a depth of at most (\d+)"
    ) as error:
        check_network(subject(nested), 1000)
    deepest = int(str(error.value).rpartition(" ")[2])
    assert 100 < deepest < 1000
    assert check_network(subject(nested), deepest) == []


class CallsItself(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.forward(self.inner(x))


def calling_itself(depth, in_channels, num_classes):
    return nn.Sequential(nn.Flatten(), CallsItself(nn.Linear(64, 64)), nn.Linear(64, num_classes))


def test_a_forward_method_that_calls_itself_is_named():
    with pytest.raises(BadInput, match="the method forward of CallsItself calls itself without end"):
        check_network(subject(calling_itself), 3)


def fixed(depth, in_channels, num_classes):
    return stack(8, in_channels, num_classes)


class Repeated(nn.Module):
    """Applies one layer `depth` - 1 times."""

    def __init__(self, depth, in_channels, num_classes):
        super().__init__()
        self.count, self.layer, self.head = depth - 1, nn.Linear(64, 64), nn.Linear(64, num_classes)

    def forward(self, x):
        x = x.flatten(1)
        for _ in range(self.count):
            x = self.layer(x)
        return self.head(x)


def at(change):
    """Return a builder that makes the network of another depth."""
    return lambda depth, in_channels, num_classes: stack(change(depth), in_channels, num_classes)


SAME = {
    "depths 1 and 2 give the same network: 2 weighted layers; let its builder use every depth, or declare "
    "those that exist with Family(builder, depths=DepthRule(1, 1))": lambda depth: max(depth - 2, 0) + 2,
    "depths 8, 9, 16 and 17 give the same network: 8 weighted layers; let its builder use every depth, or "
    "declare those that exist with Family(builder, depths=...)": lambda depth: min(depth, 8),
    "depths 1, 2, 3, 4, 5, 6, 7 and 8 give the same network: 8 weighted layers; let its builder use every "
    "depth, or declare those that exist with Family(builder, depths=DepthRule(1, 7))": lambda depth: max(
        depth, 8
    ),
    "depths 1, 2 and 3 give the same network: 1 weighted layer; so do depths 4, 5, 6 and 7: 5 weighted "
    "layers; let its builder use every depth, or declare those that exist with Family(builder, "
    "depths=DepthRule(4, 0))": lambda depth: depth // 4 * 4 + 1,
    "depths 2 and 3 give the same network: 3 weighted layers; so do depths 4 and 5: 5 weighted layers; let "
    "its builder use every depth, or declare those that exist with Family(builder, depths=DepthRule(2, 0))": (
        lambda depth: depth // 2 * 2 + 1
    ),
    "depths 1, 2, 3, 4, 5, 6, 7, 8, 9, 16 and 17 give the same network: 8 weighted layers; let its builder "
    "use `depth`": lambda depth: 8,
}


@pytest.mark.parametrize(("message", "change"), SAME.items())
def test_depths_that_give_the_same_network_are_named(message, change):
    mine = subject(at(change))
    with pytest.raises(BadInput) as error:
        check_depths(mine, [4], depths_to_compare(mine.family.depths))
    assert str(error.value) == f"network 'mine': {message}"


def test_depths_that_differ_pass():
    check_depths(subject(stack), [1, 2, 4])
    check_depths(subject(Repeated), [2, 3])  # the same parameters, but more multiply-adds
    rule = DepthRule(4, 0)
    check_depths(subject(at(lambda depth: depth // 4), depths=rule), [4], depths_to_compare(rule))
    assert depths_to_compare(rule, deepest=12) == [4, 8, 12]


def test_a_depth_that_is_only_compared_need_not_exist():
    def build(depth, in_channels, num_classes):
        assert depth > 2
        return stack(depth, in_channels, num_classes)

    check_depths(subject(build), [3], [1, 2, 4])
    with pytest.raises(BadInput, match="AssertionError"):
        check_depths(subject(build), [2], [4])


def test_independent_problems_are_all_found():
    class Bad(After):
        def __init__(self, depth, in_channels, num_classes):
            super().__init__(None, depth, num_classes)
            self.phase = nn.Parameter(torch.zeros(3, dtype=torch.complex64))

        def forward(self, x):
            return self.network(x).view(4, 2, 5) if self.training else self.network(x[:, :, :2])

    problems, _ = examine(subject(Bad), 3)
    parameter, shape, evaluation = map(str, problems)
    assert "its parameter phase is complex" in parameter
    assert "in training mode, it returns 4x2x5 numbers" in shape
    assert "in evaluation mode only, layer 'network.1' raised RuntimeError" in evaluation
    problems, _ = examine(subject(WrongShape), 3)
    assert len(problems) == 1  # the same one in both modes


def test_a_network_that_fails_for_one_image_is_counted_with_two():
    def more_than_one(y, training):
        assert len(y) > 1
        return y

    builder = after(more_than_one)
    assert check_network(subject(builder), 3) == []
    check_depths(subject(builder), [2, 3])
    assert count_multiply_adds(builder(3, 1, CLASSES), SHAPE) == 2 * 64 * 64 + 64 * CLASSES


def seeded(depth, in_channels, num_classes):
    torch.manual_seed(0)
    return stack(depth, in_channels, num_classes)


def with_nan(depth, in_channels, num_classes):
    network = stack(depth, in_channels, num_classes)
    nn.init.constant_(network[1].bias, math.nan)
    return network


def from_numpy(depth, in_channels, num_classes):
    network = stack(depth, in_channels, num_classes)
    network[1].weight.data = torch.tensor(np.random.rand(64, 64), dtype=torch.float32)
    return network


def test_a_builder_that_ignores_the_seed_gets_a_note():
    assert notes_on_seeds(subject(stack), 2) == []
    assert notes_on_seeds(subject(with_nan), 2) == []
    (note,) = notes_on_seeds(subject(seeded), 2)
    assert note == "mine has the same initial weights for every seed; does its builder set the seed?"
    (note,) = notes_on_seeds(subject(from_numpy), 2)
    assert note.startswith("mine has other weights each time it is built with the same seed")


@pytest.mark.parametrize("name", [name for name, each in NETWORKS.items() if IMAGES in each.reads])
def test_every_built_in_family_passes(name):
    family = NETWORKS[name]
    sizes = {"width": 4, "growth": 4, "widen": 2}
    options = {key: size for key, size in sizes.items() if key in family.takes}
    side = max(8, family.smallest_side)
    checked = Subject(family, name, (3, side, side), 10, options)
    depths = [depth for depth in map(family.depths.depth, (1, 2)) if depth is not None]
    assert check_network(checked, depths[0]) == []
    check_depths(checked, depths)
    assert notes_on_seeds(checked, depths[0]) == []


def test_the_depth_that_works_is_one_of_the_family():
    with pytest.raises(BadInput, match=r"use a depth of at most \d+0$"):
        check_network(subject(nested, depths=DepthRule(10, 0)), 1000)


@pytest.mark.parametrize(
    ("are_files", "advice"),
    [
        (True, "it runs on images of 64x64 pixels: add --image-size 64, or fix its plug-in"),
        (False, "it runs on images of 64x64 pixels: use a folder of images with --image-size 64, "),
    ],
)
def test_a_network_for_larger_images_names_their_size(are_files, advice):
    def pooled(depth, in_channels, num_classes):
        return nn.Sequential(nn.MaxPool2d(32), nn.Flatten(), nn.Linear(4, num_classes))

    family = Family(pooled, "a network", source="its hash")
    with pytest.raises(BadInput, match="Output size is too small") as caught:
        check_network(Subject(family, "mine", SHAPE, CLASSES, are_files=are_files), 2)
    assert advice in str(caught.value)
    line = pooled.__code__.co_firstlineno
    assert f"(its builder is in {__name__.rpartition('.')[2]}.py, line {line})" in str(caught.value)


def test_a_network_that_runs_on_no_size_is_to_be_fixed():
    def broken(depth, in_channels, num_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(63, num_classes))

    with pytest.raises(BadInput, match="fix its plug-in") as caught:
        check_network(subject(broken), 2)
    assert "--image-size" not in str(caught.value)


@pytest.mark.parametrize(("end", "is_noted"), [(nn.Softmax(1), True), (nn.LogSoftmax(1), False)])
def test_probabilities_instead_of_logits_are_noted_once(end, is_noted):
    def ends(depth, in_channels, num_classes):
        return stack(depth, in_channels, num_classes, end)

    notes = [note for depth in (2, 3) for note in check_network(subject(ends), depth)]
    assert len(set(notes)) == is_noted
    assert all("mine returns probabilities" in note and "return logits" in note for note in notes)
