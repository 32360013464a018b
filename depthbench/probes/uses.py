"""The uses of layers in one step, and the value of a probe over them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias

import torch
from torch import Tensor

from depthbench.probes.grad_mode import is_enabled
from depthbench.probes.probe import OF_WEIGHTS, Probe

Key: TypeAlias = tuple[int, str]
"""The index of a row, and a probe."""


@dataclass
class Uses:
    """The uses of one layer in one step, as one probe needs them. The keys number the uses."""

    summaries: dict[int, Tensor] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    tensors: dict[int, Tensor] = field(default_factory=dict)
    is_lost: bool = False
    """Whether a tensor that must be joined with another one is no longer there."""
    is_inseparable: bool = False
    """Whether single uses have no values: their numbers do not follow the forward pass, as with activations
    that are computed again, or their gradients add up over several backward passes, or some were in a
    transformation."""

    def __contains__(self, use: int) -> bool:
        return use in self.summaries or use in self.tensors

    def at(self, place: int) -> "Uses | None":
        """Return the use at a position of the forward pass, from 0. None: there were fewer."""
        numbers = sorted({*self.summaries, *self.tensors})
        if place >= len(numbers):
            return None
        use = numbers[place]
        if use not in self.summaries:
            return Uses(tensors={use: self.tensors[use]})
        return Uses({use: self.summaries[use]}, {use: self.sizes[use]})

    def value(self, probe: Probe) -> Tensor:
        """Return the value of a probe over all uses."""
        if len(self.tensors) > 1 or not self.summaries:
            return probe.measure(joined(self.tensors))
        summaries = list(self.summaries.values())
        if probe.combine is not None and len(summaries) > 1:
            return probe.combine(torch.stack(summaries), list(self.sizes.values()))
        return summaries[0].flatten()[0]


class StepUses:
    """The uses of all layers, modules and parameters in one step.

    `at_once` maps probes to their `measure_all`. Their tensors are kept until `values` is called."""

    def __init__(
        self,
        probes: Mapping[str, Probe],
        at_once: Mapping[str, Callable[[Sequence[Tensor]], Tensor]],
    ):
        self.probes, self.at_once = probes, at_once
        self.by_key: dict[Key, Uses] = {}
        self.calls: Counter[int] = Counter()
        """Row of a layer -> its calls in the forward pass, if a probe measures dL/dz or responses."""
        self.closed: set[int] = set()
        """Rows that are no longer measured in this step."""
        self.first = 0
        """The number of the first use in this step. Earlier ones are not measured."""
        self._without_gradients: set[int] = set()  # the numbers of uses with gradients disabled
        self._numbers = count()
        self._may_release = False  # whether a response is kept since the last release

    def clear(self) -> None:
        """Forget the step."""
        self.by_key.clear()
        self._without_gradients.clear()
        self.calls.clear()
        self.closed.clear()

    def next_number(self) -> int:
        """Return the number of a new use."""
        number = next(self._numbers)
        if not is_enabled():
            self._without_gradients.add(number)
        return number

    def drop_targets(self) -> None:
        """Drop the uses without gradients, e.g. for a target, of what was also used with gradients."""
        for uses in self.by_key.values() if self._without_gradients else ():
            numbers = {*uses.summaries, *uses.tensors}
            if numbers - self._without_gradients:
                for number in numbers & self._without_gradients:
                    for kept in (uses.summaries, uses.sizes, uses.tensors):
                        kept.pop(number, None)

    def measure(self, index: int, probes: Mapping[str, Probe], tensor: Tensor, use: int) -> None:
        """Measure a tensor of one use of a layer, in place of an earlier tensor of that use."""
        if index in self.closed or use < self.first:
            return
        for name, probe in probes.items():
            uses = self.by_key.setdefault((index, name), Uses())
            is_forward = probe.of in ("response", "output")
            is_joined = probe.combine is None and (is_forward or self.calls[index] > 1)
            if name in self.at_once or is_joined:
                # the nonlinearity that follows may change a response in place
                uses.tensors[use] = tensor.clone() if is_forward else tensor
                self._may_release = self._may_release or is_forward
            if name in self.at_once:
                continue
            if probe.combine is None and uses.summaries.keys() - {use}:  # all are measured as one
                uses.is_lost = uses.is_lost or not uses.summaries.keys() <= uses.tensors.keys()
                continue
            summary = (probe.summarise or probe.measure)(tensor)
            uses.summaries[use] = summary if probe.summarise else one_number(name, summary)
            uses.sizes[use] = tensor.numel()

    def measure_inputs(
        self, index: int, probes: Mapping[str, Probe], inputs: Sequence[Any], use: int
    ) -> None:
        """Measure the inputs of one use of a module. The inputs of several uses can only be combined."""
        if index in self.closed or use < self.first:
            return
        for name, probe in probes.items():
            uses = self.by_key.setdefault((index, name), Uses())
            uses.is_lost = uses.is_lost or (probe.combine is None and bool(uses.summaries))
            summary = (probe.summarise or probe.measure)(*inputs)
            uses.summaries[use] = summary if probe.summarise else one_number(name, summary)
            uses.sizes[use] = next(x.numel() for x in inputs if isinstance(x, Tensor))

    def measure_again(self, index: int, probes: Mapping[str, Probe], tensor: Tensor) -> None:
        """Measure a weight or parameter, in place of an earlier measurement. A closed row keeps its own."""
        if index in self.closed:
            return
        for name in probes:
            self.by_key.pop((index, name), None)
        self.measure(index, probes, tensor, self.next_number())

    def is_measured(self, index: int, probes: Iterable[str], use: int) -> bool:
        """Return whether a tensor of this use has been measured."""
        return any(use in self.by_key[index, name] for name in probes if (index, name) in self.by_key)

    def lose(self, index: int, probes: Iterable[str]) -> None:
        """Make the values of a layer missing, because gradients of several backward passes add up."""
        for name in probes:
            uses = self.by_key[index, name]
            uses.is_lost = uses.is_lost or index not in self.closed
            uses.is_inseparable = True

    def make_inseparable(self, index: int, probes: Iterable[str]) -> None:
        """Give single uses no values, because the activations of the layer were computed again."""
        for name in probes:
            if (index, name) in self.by_key:  # not if the row was closed before its first measurement
                self.by_key[index, name].is_inseparable = True

    def release_single_uses(self) -> None:
        """Drop the responses that need not be joined. The forward pass has ended."""
        if not self._may_release:  # each of many gradients calls this
            return
        self._may_release = False
        for (_, name), uses in self.by_key.items():
            is_forward = self.probes[name].of in ("response", "output")
            if is_forward and name not in self.at_once and len(uses.tensors) == 1:
                uses.tensors.clear()

    def values(self, processes: Sequence[Mapping[Key, Uses]]) -> dict[Key, Tensor]:
        """Return the values over all uses in all processes."""
        measured = {}
        for name, measure_all in self.at_once.items():
            kept = {
                index: joined(uses.tensors)
                for (index, of), uses in self.by_key.items()
                if of == name and not uses.is_lost
            }
            if kept:
                for index, value in zip(kept, measure_all(list(kept.values())), strict=True):
                    measured[index, name] = value
        for key, parts in _by_key(processes):
            whole = _of_all_processes(parts)
            if key not in measured and not whole.is_lost:
                measured[key] = whole.value(self.probes[key[1]])
        return measured

    def values_of_each(
        self, processes: Sequence[Mapping[Key, Uses]], layers: int, each_use: int
    ) -> dict[Key, Tensor]:
        """Return the values of the first uses of each layer, which have their own rows after the layers.

        The n-th uses in all processes are one use of the whole batch."""
        measured = {}
        for (index, name), parts in _by_key(processes):
            is_of_weights = self.probes[name].of in OF_WEIGHTS
            if index >= layers or is_of_weights or any(part.is_inseparable for part in parts):
                continue
            first_row = layers + index * each_use
            for place in range(each_use):
                own = [one for part in parts if (one := part.at(place)) is not None]
                if own:
                    measured[first_row + place, name] = _of_all_processes(own).value(self.probes[name])
        return measured


def one_number(probe: str, value: Any) -> Tensor:
    """Return the result of a probe. Raises ValueError if it is not one number."""
    if isinstance(value, Tensor) and not value.dim():
        return value
    what = f"a tensor of the shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
    raise ValueError(f"the probe {probe!r} returned {what}; return a tensor without dimensions")


def joined(tensors: Mapping[int, Tensor]) -> Tensor:
    """Return the tensors of all uses as one: along the batch, or flattened if other dimensions differ."""
    parts: Sequence[Tensor] = [tensors[use] for use in sorted(tensors)]
    if len(parts) == 1:
        return parts[0]
    if len({part.shape[1:] for part in parts}) > 1 or not parts[0].dim():
        parts = [part.flatten() for part in parts]
    return torch.cat(list(parts))


def _by_key(processes: Sequence[Mapping[Key, Uses]]) -> Iterator[tuple[Key, list[Uses]]]:
    """Yield each key that a process has, with the uses in all processes that have it."""
    found: dict[Key, list[Uses]] = defaultdict(list)
    for process in processes:
        for key, uses in process.items():
            found[key].append(uses)
    yield from found.items()


def _of_all_processes(parts: Sequence[Uses]) -> Uses:
    """Return the uses in all processes, one after the other. Several processes have only summaries."""
    if len(parts) == 1:
        return parts[0]
    whole = Uses()
    for uses in parts:
        whole.is_lost = whole.is_lost or uses.is_lost
        for use, summary in uses.summaries.items():
            number = len(whole.summaries)
            whole.summaries[number], whole.sizes[number] = summary, uses.sizes[use]
    return whole
