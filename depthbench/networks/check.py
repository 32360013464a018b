"""Check a network before it trains: build it, and make a forward pass, a backward pass and an evaluation.

The built-in families pass these checks in their tests. A plug-in's network is checked before each study."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.errors import BadInput, BadNetwork, one_line
from depthbench.networks.cost import count_multiply_adds
from depthbench.networks.family import DepthRule, Family
from depthbench.networks.layers import depth_of, weighted_layers
from depthbench.networks.lazy import initialise_lazily, is_lazy
from depthbench.networks.outputs import describe_output, describe_place, describe_shape, logits_of

BATCH = 4  # images; batch normalisation needs more than one
OTHER_BATCHES = {"training mode": (2,), "evaluation mode": (2, 3)}
"""Numbers of images in other batches. Costs are counted on two images in training mode. In an evaluation, the
last batch has fewer images than the others."""


@dataclass(frozen=True)
class Subject:
    """A network to check, and the images that it is for."""

    family: Family
    name: str
    shape: tuple[int, int, int]
    """Of an image, (C, H, W)."""
    classes: int
    options: Mapping[str, Any] = field(default_factory=dict)
    """The options that a study sets."""

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
        return network

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
        raise subject.problem(depth, f"its code raised {one_line(error)}; fix its plug-in") from error


def check_network(subject: Subject, depth: int) -> list[str]:
    """Check the network of a depth. Returns notes for the user.

    Raises BadInput, which names the network, the layer and what to do, if the network cannot be trained."""
    try:
        with naming(subject, depth):
            return _check(subject, depth)
    except RecursionError:
        deepest = _deepest_that_runs(subject, depth)
        advice = f"use a depth of at most {deepest}" if deepest else "call the layers in a loop"
        raise subject.problem(depth, f"its modules are nested too deeply for Python; {advice}") from None


def _check(subject: Subject, depth: int) -> list[str]:
    network = subject.build(depth)
    _check_parameters(network, lambda text: subject.problem(depth, text))
    notes = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x = torch.rand(BATCH, *subject.shape).contiguous(memory_format=torch.channels_last)
        y = torch.arange(BATCH) % subject.classes
        output = _forward(subject, depth, network.train(), x)
        logits = _checked_logits(subject, depth, output, "training mode")
        _check_gradients(subject, depth, network, loss=F.cross_entropy(logits.float(), y))
        _check_other_batches(subject, depth, network, x)
        with torch.no_grad():
            evaluated = _forward(subject, depth, network.eval(), x)
        _checked_logits(subject, depth, evaluated, "evaluation mode")
        _check_other_batches(subject, depth, network, x)
    if not isinstance(output, Tensor):
        kind = describe_output(output)
        notes.append(f"{subject.name} returns {kind}; the loss is that of {describe_place(output)}")
    if not (logits.isfinite().all() and logits_of(evaluated).isfinite().all()):
        notes.append(f"{subject.name} of depth {depth}: its logits are not finite at initialisation")
    notes += _notes_on_layers(subject, depth, network)
    return notes


def _check_parameters(network: nn.Module, problem: Callable[[str], BadInput]) -> None:
    parameters = dict(network.named_parameters())
    if not parameters:
        raise problem("it has no parameters, so there is nothing to train; register them as nn.Parameter")
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise problem("all its parameters are frozen; set requires_grad for some of them")
    for name, parameter in parameters.items():
        if parameter.is_complex():
            raise problem(f"its parameter {name} is complex; store real and imaginary parts as real numbers")


def _forward(subject: Subject, depth: int, network: nn.Module, x: Tensor) -> Any:
    with _entered_layers(network) as entered:
        try:
            return network(x)
        except RecursionError:
            raise
        except (Exception, SystemExit) as error:
            where = f"layer {entered[-1]!r}" if entered else "its forward pass"
            images = "x".join(map(str, x.shape))
            raise subject.problem(
                depth, f"{where} raised {one_line(error)} for images {images}; fix its plug-in"
            ) from error


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
            _check(subject, candidate)
        except RecursionError:
            fails = middle
        except BadInput:
            return None
        else:
            passes = middle
    return rule.depth(passes) if passes else None


def _check_other_batches(subject: Subject, depth: int, network: nn.Module, x: Tensor) -> None:
    """Raise BadInput if `network`, which accepts the images `x`, does not accept fewer of them."""
    mode = "training mode" if network.training else "evaluation mode"
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
                depth, f"its backward pass raised {one_line(error)}; fix its plug-in"
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
        count = f"{layers} weighted layer{'s'[: layers > 1]}"
        return [f"{subject.name} of depth {depth} has {count}"]
    return []


def check_depths(subject: Subject, depths: list[int]) -> None:
    """Raise BadInput if two depths are one and the same network, so that depth has no effect."""
    seen: dict[tuple[Any, ...], int] = {}
    for depth in depths:
        key = _identity(subject, depth)
        if key in seen:
            same = f"it is the same network as at depth {seen[key]}"
            if subject.family.depths == DepthRule() and _differs(subject, depth + 1, key):
                raise subject.problem(
                    depth,
                    f"{same}, but not as at depth {depth + 1}; declare which depths exist, e.g. {depth} or "
                    f"more with Family(builder, depths=DepthRule(1, {depth - 1}))",
                )
            raise subject.problem(depth, f"{same}, so its depth has no effect; let its builder use `depth`")
        seen[key] = depth


def _differs(subject: Subject, depth: int, key: tuple[Any, ...]) -> bool:
    """Return whether the network of a depth exists and differs from that of `key`."""
    try:
        return _identity(subject, depth) != key
    except BadInput:
        return False


def _identity(subject: Subject, depth: int) -> tuple[Any, ...]:
    """Return what distinguishes the networks of two depths."""
    network = subject.build(depth)
    shapes = tuple((name, tuple(p.shape)) for name, p in network.named_parameters())
    with naming(subject, depth):
        return shapes, count_multiply_adds(network, subject.shape)


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
