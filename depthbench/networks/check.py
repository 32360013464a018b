"""Check a network before it trains: build it, and make a forward pass, a backward pass and an evaluation.

The built-in families pass these checks in their tests. A plug-in's network is checked before each study."""

import contextlib
import inspect
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.errors import BadInput, BadNetwork, one_line, place_in_plugin
from depthbench.networks.cost import count_multiply_adds
from depthbench.networks.family import DepthList, DepthRule, Family
from depthbench.networks.layers import depth_of, weighted_layers
from depthbench.networks.lazy import initialise_lazily, is_lazy
from depthbench.networks.memory_format import channels_last
from depthbench.networks.outputs import (
    describe_output,
    describe_place,
    describe_shape,
    has_other_parts,
    logits_of,
)
from depthbench.text import listed

BATCH = 4  # images; batch normalisation needs more than one
COMPARED = (*range(1, 10), 16, 17)
"""Positions of a family's depths (`DepthRule.n`) at which networks are compared: where a search begins. The
last ones show a limit of the depth."""
SIDES = (28, 32, 64, 96, 128, 224, 256, 299, 384)
"""Sides in pixels of the images that networks are usually made for."""
TRAINING, EVALUATION = "training mode", "evaluation mode"
SUM_OF_ONE = 1e-2
"""By how much a sum of probabilities may differ from 1. In bfloat16 it is off by a few thousandths."""
OTHER_BATCHES = {TRAINING: (2,), EVALUATION: (2, 3)}
"""Numbers of images in other batches. Costs are counted on two images in training mode. In an evaluation, the
last batch has fewer images than the others."""


@dataclass(frozen=True)
class Subject:
    """A network to check, and the images that it is for."""

    family: Family
    name: str
    shape: tuple[int, ...]
    """Of an image, (C, H, W)."""
    classes: int
    options: Mapping[str, Any] = field(default_factory=dict)
    """The options that a study sets."""
    are_files: bool = False
    """Whether the images come from a folder, so that `--image-size` can change their size."""

    def build(self, depth: int, seed: int = 0) -> nn.Module:
        """Return the network of a depth and seed. Raises BadInput if its builder fails.

        The random state of the caller is not changed."""
        channels = self.family.in_channels(self.shape)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                network = self.family(
                    depth=depth, in_channels=channels, num_classes=self.classes, **self.options
                )
            except BadNetwork as error:
                raise self.problem(depth, str(error)) from None
            except BadInput:
                raise
            except RecursionError:
                raise self.problem(depth, "its builder calls itself too often; use a loop") from None
            except (Exception, SystemExit) as error:
                raise self.problem(depth, f"its builder raised {one_line(error)}; fix its plug-in") from error
            if not isinstance(network, nn.Module):
                is_class = isinstance(network, type)
                kind = f"the class {network.__name__}" if is_class else f"a {type(network).__name__}"
                raise self.problem(depth, f"its builder returned {kind}; return a torch.nn.Module")
            for name, module in network.named_modules():
                if isinstance(module, torch.jit.ScriptModule):
                    what = f"its module {name!r}" if name else "it"
                    raise self.problem(
                        depth,
                        f"{what} is compiled to TorchScript, which cannot be measured; return the module "
                        "without torch.jit.script or torch.jit.trace",
                    )
            if is_lazy(network):
                with naming(self, depth):
                    initialise_lazily(network, self.shape)
        return channels_last(network)

    def explain(self, error: BaseException) -> str:
        """Return an exception that the network raised in one line, with a place in the user's files.

        If no code of the user took part, e.g. in the forward pass of a network of torchvision, the place is
        that of the builder."""
        line = one_line(error)
        if place_in_plugin(error):
            return line
        code = getattr(inspect.unwrap(self.family.load()), "__code__", None)
        if code is None or not self.family.source:  # e.g. the builder is a class
            return line
        return f"{line} (its builder is in {os.path.basename(code.co_filename)}, line {code.co_firstlineno})"

    def problem(self, depth: int, text: str) -> BadInput:
        """Return the error that names the network and what is wrong with it."""
        return BadInput(f"network {self.name!r} at depth {depth}: {text}")


@contextlib.contextmanager
def naming(subject: Subject, depth: int) -> Iterator[None]:
    """Raise BadInput, which names the network, if its code raises an exception in this context."""
    try:
        yield
    except BadNetwork as error:
        raise subject.problem(depth, str(error)) from None
    except (BadInput, RecursionError):
        raise
    except (Exception, SystemExit) as error:
        raise subject.problem(depth, f"its code raised {subject.explain(error)}; fix its plug-in") from error


def check_network(subject: Subject, depth: int) -> list[str]:
    """Check the network of a depth. Returns notes for the user.

    Raises BadInput, which names the network, the layer and what to do, if the network cannot be trained. If
    it has several problems, this is the first."""
    problems, notes = examine(subject, depth)
    if problems:
        raise problems[0]
    return notes


def examine(subject: Subject, depth: int) -> tuple[list[BadInput], list[str]]:
    """Return the problems of the network of a depth, and notes for the user.

    A problem ends the checks that depend on it. The others follow."""
    try:
        return _examine(subject, depth)
    except RecursionError as error:
        deepest = _deepest_that_runs(subject, depth)
        endless = None if deepest else _calls_itself(error)
        advice = f"use a depth of at most {deepest}" if deepest else "call the layers in a loop"
        problem = f"its modules are nested too deeply for Python; {advice}"
        if endless is not None:
            problem = f"the method forward of {endless} calls itself without end; call its layers instead"
        return [subject.problem(depth, problem)], []


def _calls_itself(error: RecursionError) -> str | None:
    """Return the class of the module whose forward pass calls itself. None: the modules are nested."""
    running = set()
    for frame, _ in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        module = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
        if code.co_name == "forward" and isinstance(module, nn.Module):
            if (code, id(module)) in running:
                return type(module).__name__
            running.add((code, id(module)))
    return None


def _without_mode(problem: BadInput) -> str:
    return str(problem).replace(TRAINING, EVALUATION)


class _Problems(list[BadInput]):
    """The problems of one network."""

    def __init__(self, subject: Subject, depth: int):
        super().__init__()
        self.subject, self.depth = subject, depth

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Add a problem that code in this context raises. One that both modes have is added once."""
        try:
            with naming(self.subject, self.depth):
                yield
        except BadInput as problem:
            if _without_mode(problem) not in map(_without_mode, self):
                self.append(problem)


def _examine(subject: Subject, depth: int) -> tuple[list[BadInput], list[str]]:
    problems = _Problems(subject, depth)
    notes: list[str] = []
    with problems.caught():
        network = subject.build(depth)
    if problems:
        return problems, notes
    with problems.caught():
        _check_parameters(network, lambda text: subject.problem(depth, text))
    is_trainable = not problems
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x = torch.rand(BATCH, *subject.shape).contiguous(memory_format=torch.channels_last)
        y = torch.arange(BATCH) % subject.classes
        ran, outputs, logits = [], {}, []
        for mode in (TRAINING, EVALUATION):
            with problems.caught(), torch.set_grad_enabled(mode == TRAINING):
                network.train(mode == TRAINING)  # its result is not used, because a network may return none
                only = " only" if mode == EVALUATION and TRAINING in ran else ""
                output = _forward(subject, depth, network, x, mode=mode + only)
                ran.append(mode)
                logits.append(_checked_logits(subject, depth, output, mode))
                outputs[mode] = output
                if mode == TRAINING and is_trainable:
                    loss = F.cross_entropy(logits[-1].float(), y)
                    with problems.caught():
                        _check_gradients(subject, depth, network, loss=loss)
                _check_other_batches(subject, depth, network, x, mode=mode)
    notes += _notes_on_outputs(subject, outputs)
    if any(map(_are_probabilities, logits)):
        notes.append(
            f"{subject.name} returns probabilities: each row is in 0 to 1 and sums to 1, as after a softmax; "
            "return logits, because the loss applies the softmax itself"
        )
    if not all(each.isfinite().all() for each in logits):
        notes.append(f"{subject.name} of depth {depth}: its logits are not finite at initialisation")
    with problems.caught():
        notes += _notes_on_layers(subject, depth, network)
    return problems, notes


def _are_probabilities(logits: Tensor) -> bool:
    """Return whether each row of an output (B, classes) holds probabilities. One class proves nothing."""
    rows = logits.detach().double()
    is_in_range = bool((rows >= 0).all() and (rows <= 1).all())
    return logits.shape[1] > 1 and is_in_range and bool(((rows.sum(1) - 1).abs() < SUM_OF_ONE).all())


def _notes_on_outputs(subject: Subject, outputs: Mapping[str, Any]) -> list[str]:
    """Return notes on the part of an output that is used: one if it is the same in both modes."""
    used = {
        mode: f"{subject.name} returns {describe_output(output)}; its logits are {describe_place(output)}"
        + (", and its other parts are ignored" if has_other_parts(output) else "")
        for mode, output in outputs.items()
        if not isinstance(output, Tensor)
    }
    if len(set(used.values())) == 1 and len(used) == len(outputs):
        return [next(iter(used.values()))]
    return [f"in {mode}, {text}" for mode, text in used.items()]


def _check_parameters(network: nn.Module, problem: Callable[[str], BadInput]) -> None:
    parameters = dict(network.named_parameters())
    if not parameters:
        raise problem("it has no parameters, so there is nothing to train; register them as nn.Parameter")
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise problem("all its parameters are frozen; set requires_grad for some of them")
    for name, parameter in parameters.items():
        if parameter.is_complex():
            raise problem(f"its parameter {name} is complex; store real and imaginary parts as real numbers")


def _forward(subject: Subject, depth: int, network: nn.Module, x: Tensor, *, mode: str) -> Any:
    with _entered_layers(network) as entered:
        try:
            return network(x)
        except RecursionError:
            raise
        except (Exception, SystemExit) as error:
            where = f"layer {entered[-1]!r}" if entered else "its forward pass"
            images = "x".join(map(str, x.shape))
            side = _side_that_runs(subject, network)
            raise subject.problem(
                depth,
                f"in {mode}, {where} raised {subject.explain(error)} for images {images}; "
                f"{'fix its plug-in' if side is None else _other_size(subject, side)}",
            ) from error


@torch.no_grad()
def _side_that_runs(subject: Subject, network: nn.Module) -> int | None:
    """Return the side in pixels of images for which the forward pass of a network succeeds.

    Returns None if it fails for all of SIDES. Larger images than those of `subject` are tried first."""
    channels, *own = subject.shape
    for side in sorted(set(SIDES) - set(own), key=lambda side: (side < max(own), side)):
        with contextlib.suppress(Exception, SystemExit):
            logits = logits_of(network(torch.rand(2, channels, side, side)))
            if tuple(logits.shape) == (2, subject.classes):
                return side
    return None


def _other_size(subject: Subject, side: int) -> str:
    """Return what to do if a network runs on images of another size, `side`."""
    runs = f"it runs on images of {side}x{side} pixels"
    if subject.are_files:
        return f"{runs}: add --image-size {side}, or fix its plug-in"
    return f"{runs}: use a folder of images with --image-size {side}, or fix its plug-in"


@contextlib.contextmanager
def _entered_layers(network: nn.Module) -> Iterator[list[str]]:
    """Yield the names of the modules whose forward pass has begun and not ended, the innermost last."""
    entered: list[str] = []
    handles = []
    for name, module in network.named_modules():
        if name:
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: entered.append(name)))
            handles.append(module.register_forward_hook(lambda *_: entered.pop() and None))
    try:
        yield entered
    finally:
        for handle in handles:
            handle.remove()


def _deepest_that_runs(subject: Subject, depth: int) -> int | None:
    """Return a depth near the deepest one at which Python can walk through all nested modules."""
    rule = subject.family.depths
    passes, fails = 0, rule.n(depth)
    while fails - passes > max(1, passes // 20):
        middle = (passes + fails) // 2
        candidate = rule.depth(middle)
        try:
            if candidate is None:
                return None
            problems, _ = _examine(subject, candidate)
        except RecursionError:
            fails = middle
        else:
            if problems:
                return None
            passes = middle
    return rule.depth(passes) if passes else None


def _check_other_batches(subject: Subject, depth: int, network: nn.Module, x: Tensor, *, mode: str) -> None:
    """Raise BadInput if `network`, which accepts the images `x`, does not accept fewer of them."""
    for images in OTHER_BATCHES[mode]:
        try:
            with torch.no_grad():
                shape = tuple(logits_of(network(x[:images])).shape)
        except RecursionError:
            raise
        except (Exception, SystemExit) as error:
            failure = f"raised {one_line(error)}"
        else:
            if shape == (images, subject.classes):
                continue
            failure = f"returned {describe_shape(shape)}"
        raise subject.problem(
            depth,
            f"in {mode}, it accepts a batch of {len(x)} images, but {failure} for a batch of {images}; "
            "let it accept any number of images",
        )


def _checked_logits(subject: Subject, depth: int, output: Any, mode: str) -> Tensor:
    """Return the logits in `output`. Raises BadInput if they do not fit the data."""
    try:
        logits = logits_of(output)
    except TypeError as error:
        raise subject.problem(
            depth,
            f"it {error}; return the logits, a tuple or dict that begins with them, or `logits` in a dict",
        ) from None
    wanted = (BATCH, subject.classes)
    if tuple(logits.shape) != wanted:
        raise subject.problem(
            depth,
            f"in {mode}, it returns {describe_shape(logits.shape)} for {BATCH} images of {subject.classes} "
            f"classes; end it with a layer of num_classes outputs and return {BATCH}x{subject.classes}",
        )
    if not logits.is_floating_point():
        raise subject.problem(depth, f"its logits are {logits.dtype}; return real numbers")
    return logits


def _check_gradients(subject: Subject, depth: int, network: nn.Module, *, loss: Tensor) -> None:
    if loss.requires_grad:
        try:
            loss.backward()
        except (Exception, SystemExit) as error:
            raise subject.problem(
                depth, f"its backward pass raised {subject.explain(error)}; fix its plug-in"
            ) from error
    if all(parameter.grad is None for parameter in network.parameters()):
        raise subject.problem(
            depth, "no gradient reaches any parameter; its output is detached from them (detach, no_grad)"
        )


def _notes_on_layers(subject: Subject, depth: int, network: nn.Module) -> list[str]:
    try:
        layers = depth_of(weighted_layers(network))
    except ValueError as error:
        raise subject.problem(depth, f"{error}; give it a method weighted_layers()") from None
    if layers != depth and not subject.family.depth_counts:
        return [f"{subject.name} of depth {depth} has {_in_layers(layers)}"]
    return []


def _in_layers(count: int) -> str:
    return f"{count} weighted layer{'s'[: count > 1]}"


def depths_to_compare(rule: DepthRule | DepthList, deepest: int | None = None) -> list[int]:
    """Return depths of a family, up to the `deepest`, that show whether the depth has an effect."""
    depths = filter(None, map(rule.depth, COMPARED))
    return [depth for depth in depths if deepest is None or depth <= deepest]


def check_depths(subject: Subject, depths: Iterable[int], others: Iterable[int] = ()) -> None:
    """Raise BadInput if several depths are one and the same network.

    others: further depths to compare, unless the network does not exist there."""
    wanted = set(depths)
    seen: dict[int, _Identity] = {}
    for depth in sorted(wanted.union(others)):
        try:
            seen[depth] = _identity(subject, depth)
        except (BadInput, RecursionError):
            if depth in wanted:
                raise
    groups: dict[_Identity, list[int]] = {}
    for depth, identity in seen.items():
        groups.setdefault(identity, []).append(depth)
    same = [(listed(list(map(str, group))), key.size) for key, group in groups.items() if len(group) > 1]
    if not same:
        return
    found = f"depths {same[0][0]} give the same network: {same[0][1]}"
    if len(same) > 1:
        found += f"; so do depths {same[1][0]}: {same[1][1]}"
    if len(groups) == 1:
        advice = "let its builder use `depth`"
    else:
        rule = _rule_of(list(groups.values())) if subject.family.depths == DepthRule() else None
        depths_of_rule = "..." if rule is None else f"DepthRule({rule.step}, {rule.offset})"
        advice = (
            "let its builder use every depth, or declare those that exist with "
            f"Family(builder, depths={depths_of_rule})"
        )
    raise BadInput(f"network {subject.name!r}: {found}; {advice}")


class _Identity(NamedTuple):
    """What distinguishes the networks of two depths."""

    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    multiply_adds: int
    size: str
    """The number of layers in words."""


def _identity(subject: Subject, depth: int) -> _Identity:
    network = subject.build(depth)
    shapes = tuple((name, tuple(p.shape)) for name, p in network.named_parameters())
    with naming(subject, depth):
        try:
            size = _in_layers(depth_of(weighted_layers(network)))
        except ValueError:  # it has none
            size = f"{len(shapes)} parameters"
        return _Identity(shapes, count_multiply_adds(network, subject.shape), size)


def _rule_of(groups: Sequence[Sequence[int]]) -> DepthRule | None:
    """Return a rule of depths of which no two give the same network. None: no simple rule describes them.

    groups: the depths that give the same network, the shallowest group first."""
    first, *others = groups
    if all(len(group) == 1 for group in others) and [first[-1] + 1] in others:
        return DepthRule(1, first[-1] - 1)
    starts = [depth for depth, *_ in others if any(depth - 1 in group for group in groups)]
    steps = {deeper - depth for depth, deeper in pairwise(starts)}
    if not steps:
        return None
    rule = DepthRule(min(steps), starts[0] - min(steps))
    kept = [sum(depth in map(rule.depth, range(1, depth + 1)) for depth in group) for group in groups]
    return rule if max(kept) == 1 and sum(kept) > 1 else None


def notes_on_seeds(subject: Subject, depth: int) -> list[str]:
    """Return notes if seeds do not decide the initial weights."""
    first, again, other = (list(subject.build(depth, seed).parameters()) for seed in (0, 0, 1))
    if not _are_equal(first, again):
        return [
            f"{subject.name} has other weights each time it is built with the same seed; use torch's random "
            "numbers only"
        ]
    if _are_equal(first, other):
        return [f"{subject.name} has the same initial weights for every seed; does its builder set the seed?"]
    return []


def _are_equal(one: list[nn.Parameter], other: list[nn.Parameter]) -> bool:
    return len(one) == len(other) and all(map(_have_equal_bits, one, other))


def _have_equal_bits(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are the same numbers. Unlike in `torch.equal`, NaN is equal to itself."""
    bits, others = (tensor.detach().contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other))
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(bits, others)
