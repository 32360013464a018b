"""Measure probes in probed steps. Other steps have no overhead.

Probes that compare the gradients of two steps also need the step before a probed one."""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import TensorWeakRef

from depthbench.machine.precision import widest_float
from depthbench.networks.attention import projected
from depthbench.networks.cost import is_built_in
from depthbench.networks.layers import NORMS, current_weight, staged, weighted_layers
from depthbench.probes.attention import follow_projections
from depthbench.probes.kept import KeptGradients
from depthbench.probes.order import OrderOfUse
from depthbench.probes.probe import Probe
from depthbench.probes.rows import rows_of, selected
from depthbench.probes.uncompiled import uncompiled

FROZEN = "frozen"
UNUSED = "not used in the step"
FUNCTIONAL = "its weight is used without a call of the layer"
TRANSFORMED = "called in a transformation of torch.func, e.g. vmap"
UNREACHED = "no gradient reaches it"
EARLIER = "no gradient reached it in the step before"
SEVERAL = "several forward or backward passes in one step"
OUTPUT = "out_proj"
WHOLE = "the network"
NOTHING = "selects no module and no parameter"
OF_WEIGHTS = ("weight", "weight_update", "weight_gradients")

Key = TypeVar("Key", bound=Hashable)
Hook = Callable[[nn.Module, tuple[Any, ...], Any], None]


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


@dataclass(frozen=True)
class _Output:
    """An output of a layer, whose norm may come."""

    index: int
    use: int
    tensor: TensorWeakRef
    version: int
    """A number that grows when the tensor is changed in place."""


class Recorder:
    """A context around the forward and backward pass of one probed step.

    >>> with recorder:
    ...     loss(network(x), y).backward()
    ...     values = recorder.values()

    Probes of `weight_gradients` and `weight_update` need three more calls. Without such a probe, they do
    nothing.

    >>> if recorder.compares_gradients:  # in the step before a probed one
    ...     with recorder.preparing():
    ...         loss(network(x), y).backward()
    ...         recorder.keep_gradients()  # before clipping
    >>> with recorder:
    ...     loss(network(x), y).backward()
    ...     values = recorder.values()
    ...     recorder.keep_gradients()  # if the next step is probed as well
    >>> optimizer.step()
    >>> values = recorder.with_updates(values)

    Hooks exist only inside the context. There, functions that a user's network compiles run uncompiled.
    Every number stays on the device, so that fetching `values` is the only sync of a probed step. `at_once`
    keeps the tensors of the probes that can measure all layers together until `values` is called. This is
    faster on a GPU, but needs memory for these tensors.

    A value covers every use of a layer in the step (see Probe). A forward pass that a backward pass
    repeats to save memory is not another use. Tensors of single uses are kept at most until the backward pass
    begins. Those that a probe can `combine` are not kept. `each_use=N` adds rows for the first N uses of each
    layer.

    If each of `ranks` processes has a part of the batch, `gather` returns the whole tensor of parts (B, ...),
    and probes measure that. The backward pass must start from `ranks` times this part's share of the loss,
    whose mean over the processes is the loss, and weights must have averaged gradients."""

    def __init__(
        self,
        network: nn.Module,
        probes: Mapping[str, Probe],
        at_once: bool = False,
        *,
        each_use: int = 0,
        gather: Callable[[Tensor], Tensor] = lambda part: part,
        ranks: int = 1,
    ):
        self.gather, self.ranks = gather, ranks
        self.layers = weighted_layers(network)
        self.probes = dict(probes)
        self.selected = selected(network, self.probes)
        self.each_use = each_use
        self.rows = rows_of(self.layers, self.selected, each_use)
        """The meaning of the rows of `values`: layers, their single uses, selected modules and parameters.

        A probed step shows the order in which a network uses layers that it does not name itself. Their rows
        then get other numbers and stages."""
        self._order = None if hasattr(network, "weighted_layers") else OrderOfUse(self.layers)
        self.at_once = {
            name: probe.measure_all
            for name, probe in self.probes.items()
            if at_once and probe.measure_all is not None
        }
        self._may_be_compiled = not is_built_in(network)
        self._device = next(network.parameters()).device
        self._norms = [module for module in network.modules() if isinstance(module, NORMS)]
        self._uses: dict[tuple[int, str], Uses] = {}  # by the row and the probe
        self._calls: Counter[int] = Counter()  # of each layer in the forward pass, if `_counts_calls`
        self._counts_calls = any(p.of in ("preactivation_gradient", "response") for p in probes.values())
        self._outputs: dict[int, _Output] = {}  # by the address of the storage
        self._effective: dict[int, Tensor] = {}  # the weights that were computed from parameters
        self._transformed: set[nn.Module] = set()  # modules that were called in a transformation
        self._numbers = count()
        self._handles: list[RemovableHandle] = []
        self._contexts = ExitStack()
        self._kept = KeptGradients()
        self._with_gradient: set[int] = set()  # the layers with a gradient when weights were measured
        self._earlier: dict[str, Tensor] | None = None  # gradients of the step before, taken on first need
        self._compared: dict[tuple[int, str], Tensor] = {}  # values of probes of pairs of tensors
        self._before: dict[int, Tensor] = {}  # weights before the update
        self.is_measured = np.ones((len(self.rows), len(self.probes)), dtype=bool)
        """Which of the last `values` were measured."""
        self.reasons: dict[str, str] = {}
        """Layer, module or parameter -> why values were not measured in the last step."""

    @property
    def compares_gradients(self) -> bool:
        """Whether a probe compares the gradients of a probed step with those of the step before."""
        return bool(self._probes_of("weight_gradients"))

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Make a context around the forward and backward pass of the step before a probed one.

        It adds hooks only for weights that are computed from parameters."""
        self._clear()
        self._force_eager()
        try:
            self._follow_weights()
            yield
        finally:
            self._leave()

    def keep_gradients(self) -> None:
        """Keep copies of the weights' gradients for the next step, which is probed.

        Call this inside the context of this step, after the backward pass and `values`, and before clipping.
        With a gradient scaler, unscale the gradients first."""
        if self.compares_gradients:
            self._kept.keep(
                {
                    self.layers[index].name: weight.grad
                    for index, weight in self._weights().items()
                    if weight.grad is not None
                }
            )

    def note_replay(self, keeps: bool) -> None:
        """Note that a captured step was replayed. keeps: whether it kept gradients."""
        self._kept.note_replay(keeps)

    @torch.no_grad()
    def with_updates(self, values: Tensor) -> Tensor:
        """Return the `values` of this step, completed with the probes of `weight_update`.

        Call this after the update, inside the context or after it."""
        before, self._before = self._before, {}
        if not before:
            return values
        values = values.clone()
        for column, (name, probe) in enumerate(self.probes.items()):
            if probe.of == "weight_update":
                for index, weight in before.items():
                    after = self._current_weight(index)
                    values[index, column] = one_number(name, probe.measure(weight, after))
        return values

    def layer_order(self) -> list[str]:
        """Return the names of the layers in their order of use as far as it is known, for a checkpoint."""
        return [] if self._order is None else self._order.state()

    def restore_layer_order(self, names: Sequence[str]) -> None:
        """Go back to a `layer_order`."""
        if self._order is not None:
            self._order.restore(names)
            self._number_rows()

    def _number_rows(self) -> None:
        """Number the rows of layers in their order of use."""
        if self._order is None:
            return
        order = self._order.order
        for index, layer in zip(order, staged([self.layers[index] for index in order]), strict=True):
            self.layers[index] = layer
        numbers = [number for number, _ in sorted(enumerate(order, 1), key=lambda place: place[1])]
        self.rows = rows_of(self.layers, self.selected, self.each_use, numbers=numbers)

    def state(self) -> dict[str, Tensor]:
        """Return the gradients that the next step is compared with, for a checkpoint: layer -> dL/dW."""
        return self._kept.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to `state`."""
        self._kept.restore(state, self._device)

    def __enter__(self) -> Self:
        self._clear()
        self._before.clear()
        self._force_eager()
        self._follow_weights()
        self._handles += [] if self._order is None else self._order.hooks(in_backward_pass)
        gradients = self._probes_of("preactivation_gradient")
        responses = self._probes_of("response")
        for index, layer in enumerate(self.layers):
            if isinstance(layer.weighted, nn.MultiheadAttention):
                continue
            if gradients:
                self._hook(layer.weighted, self._preactivation_hook(index, gradients))
            if responses:
                self._hook(layer.response or layer.weighted, self._response_hook(index, responses))
        for attention, indices in self._attentions.items():
            if gradients or responses:
                hook = self._attention_hook(indices, gradients, responses)
                self._handles.append(attention.register_forward_hook(hook, with_kwargs=True))
        for index, other in enumerate(self.selected, len(self.rows) - len(self.selected)):
            if other.parameter is None:
                self._hook(other.module, self._output_hook(index, dict(other.probes)))
        if responses and any(layer.response is None for layer in self.layers):
            for norm in self._norms:
                self._hook(norm, self._norm_hook(responses))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._contexts.close()
        self._clear()

    def _force_eager(self) -> None:
        """Run functions that a user's network compiles uncompiled."""
        if self._may_be_compiled:
            self._contexts.enter_context(uncompiled())

    @torch.no_grad()
    def values(self) -> Tensor:
        """Return the values (rows, probes), on the device, in the order of `rows` and `probes`.

        The values of a layer that took no part in the step are NaN. `is_measured` distinguishes them from
        measured NaN. A frozen layer has only its response. Call this inside the context, after the backward
        pass. Raises ValueError if a probe returns something other than one number."""
        self.measure_weights()
        return self.collected()

    def measure_weights(self) -> None:
        """Measure weights and parameters as they are now. Replaces an earlier measurement in this step."""
        weights = self._probes_of("weight")
        for index, layer in enumerate(self.layers):
            if any(parameter.grad is not None for parameter in layer.weight_parameters):
                self._with_gradient.add(index)
        trained = {index: weight for index, weight in self._weights().items() if weight.grad is not None}
        for index, weight in trained.items() if weights else ():
            self._measure_again(index, weights, weight)
        for index, other in enumerate(self.selected, len(self.rows) - len(self.selected)):
            parameter = None if other.parameter is None else self._differentiated(index, other.parameter)
            if parameter is not None and parameter.grad is not None:
                self._measure_again(index, dict(other.probes), parameter)
        self._compare(trained)

    def _measure_again(self, index: int, probes: dict[str, Probe], tensor: Tensor) -> None:
        for name in probes:
            self._uses.pop((index, name), None)
        self._measure(index, probes, tensor, next(self._numbers))

    def collected(self) -> Tensor:
        """Return `values` as they were measured so far."""
        if self._order is not None and self._order.end_pass():
            self._number_rows()
        measured = dict(self._compared)
        for (index, name), uses in self._uses.items():
            if self._is_transformed(index, name):
                uses.is_lost = uses.is_inseparable = True
        for name, measure_all in self.at_once.items():
            kept = {
                index: joined(uses.tensors)
                for (index, of), uses in self._uses.items()
                if of == name and not uses.is_lost
            }
            if kept:
                for index, value in zip(kept, measure_all(list(kept.values())), strict=True):
                    measured[index, name] = value
        processes = self._uses_by_process()
        for key, uses in _of_all(processes).items():
            if key not in measured and not uses.is_lost:
                measured[key] = _value(self.probes[key[1]], uses)
        self._measure_each_use(measured, processes)
        dtype = widest_float(self._device)
        missing = torch.full((), float("nan"), dtype=dtype, device=self._device)
        keys = [(index, name) for index in range(len(self.rows)) for name in self.probes]
        self.is_measured = np.array([key in measured for key in keys], bool).reshape(self.is_measured.shape)
        self.reasons = self._reasons(measured)
        numbers = [one_number(key[1], measured.get(key, missing)) for key in keys]
        flat = torch.stack([number.to(self._device, dtype) for number in numbers])
        return flat.reshape(len(self.rows), len(self.probes))

    def _measure_each_use(
        self, measured: dict[tuple[int, str], Tensor], processes: Sequence[Mapping[tuple[int, str], Uses]]
    ) -> None:
        """Add the values of the first uses of each layer, which have rows of their own after the layers.

        The n-th uses in all processes are one use of the whole batch."""
        for index, name in dict.fromkeys(key for process in processes for key in process):
            parts = [process[index, name] for process in processes if (index, name) in process]
            is_of_weights = self.probes[name].of in OF_WEIGHTS
            if index >= len(self.layers) or is_of_weights or any(part.is_inseparable for part in parts):
                continue
            first_row = len(self.layers) + index * self.each_use
            for place in range(self.each_use):
                own = [one for part in parts if (one := part.at(place)) is not None]
                if own:
                    whole = own[0] if len(own) == 1 else _of_all([{"": one} for one in own])[""]
                    measured[first_row + place, name] = _value(self.probes[name], whole)

    def _reasons(self, measured: Collection[tuple[int, str]]) -> dict[str, str]:
        """Return name of a layer, module or parameter -> why values were not measured.

        If no gradients of the step before were kept, their comparison does not count as missing."""
        reasons, earlier = {}, self._take_earlier()
        for index, layer in enumerate(self.layers):
            missing = {
                probe.of
                for name, probe in self.probes.items()
                if (earlier or probe.of != "weight_gradients")
                and probe.where is None
                and (index, name) not in measured
            }
            if missing:
                reasons[layer.name] = EARLIER if missing == {"weight_gradients"} else self._reason(index)
        for index, other in enumerate(self.selected, len(self.rows) - len(self.selected)):
            if any((index, name) not in measured for name in other.probes):
                reason = TRANSFORMED if other.module in self._transformed else UNUSED
                if other.parameter is not None:
                    reason = UNREACHED if other.parameter.requires_grad else FROZEN
                reasons[other.name or WHOLE] = reason
        used = {name for other in self.selected for name in other.probes}
        return reasons | {
            name: NOTHING
            for name, probe in self.probes.items()
            if probe.where is not None and name not in used
        }

    def _take_earlier(self) -> dict[str, Tensor]:
        """Return the gradients of the step before. Later steps cannot get them.

        They are taken when they are needed, so a step that is interrupted earlier can be repeated."""
        if self._earlier is None:
            self._earlier = self._kept.take()
        return self._earlier

    def _compare(self, trained: Mapping[int, Tensor]) -> None:
        """Measure the probes of pairs of gradients, and keep the weights for the probes of the update."""
        for name, probe in self._probes_of("weight_gradients").items():
            for index, weight in trained.items():
                before = self._take_earlier().get(self.layers[index].name)
                if before is not None and weight.grad is not None:
                    self._compared[index, name] = probe.measure(before, weight.grad)
        updates = self._probes_of("weight_update")
        if updates:
            self._before |= {index: weight.detach().clone() for index, weight in trained.items()}
        for name in updates:  # `with_updates` measures them
            self._compared |= {
                (index, name): torch.full((), float("nan"), device=self._device) for index in trained
            }

    def _reason(self, index: int) -> str:
        """Return why a value of a layer was not measured."""
        parameters = self.layers[index].weight_parameters
        if not any(parameter.requires_grad for parameter in parameters):
            return FROZEN
        if self.layers[index].weighted in self._transformed:
            return TRANSFORMED
        has_gradient = index in self._with_gradient
        if self._counts_calls and not self._calls[index]:
            return FUNCTIONAL if has_gradient else UNUSED
        return SEVERAL if has_gradient else UNREACHED

    def _weights(self) -> dict[int, Tensor]:
        """Return the weights that the layers multiply with, each with its gradient."""
        weights = {index: layer.weight for index, layer in enumerate(self.layers)}
        found = {index: self._effective.get(index) if w is None else w for index, w in weights.items()}
        return {index: weight for index, weight in found.items() if weight is not None}

    def _current_weight(self, index: int) -> Tensor:
        return current_weight(self.layers[index])

    def _follow_weights(self) -> None:
        """Collect the gradients of the weights that are computed from parameters."""
        if any(probe.of in OF_WEIGHTS for probe in self.probes.values()):
            for index, layer in enumerate(self.layers):
                if layer.weight is None:
                    self._follow_weight(index, layer.weighted)

    def _follow_weight(self, index: int, layer: nn.Module) -> None:
        """Collect the gradient of a weight that is computed in the step, perhaps several times."""

        def follow(weight: Tensor) -> None:
            effective = self._effective.setdefault(index, weight.detach())

            def collect(gradient: Tensor) -> None:
                mean = self._mean_of_ranks(gradient)
                effective.grad = mean if effective.grad is None else effective.grad + mean

            if weight.requires_grad:
                weight.register_hook(collect)

        if is_parametrized(layer, "weight"):
            computing = cast("nn.ModuleDict", layer.parametrizations)["weight"]
            self._hook(computing, lambda module, inputs, output: follow(output))
        else:  # a hook of the older weight_norm or spectral_norm has computed it
            self._hook(layer, lambda module, inputs, output: follow(cast("Tensor", module.weight)))

    def _whole(self, gradient: Tensor) -> Tensor:
        """Return the gradient of the loss of the whole batch from that of this process."""
        whole = self.gather(gradient)
        return whole if self.ranks == 1 else whole / self.ranks

    def _mean_of_ranks(self, gradient: Tensor) -> Tensor:
        """Return the gradient of a weight from that of this process."""
        return gradient if self.ranks == 1 else self.gather(gradient[None]).mean(0)

    def _differentiated(self, index: int, parameter: Tensor) -> Tensor | None:
        """Return the parameter of a row, with its gradient."""
        return parameter

    def _uses_by_process(self) -> Sequence[Mapping[tuple[int, str], Uses]]:
        """Return the uses in each process. `gather` has already added the other processes."""
        return [self._uses]

    def _clear(self) -> None:
        self._with_gradient.clear()
        self._earlier = None
        self._compared.clear()
        self._effective.clear()
        self._uses.clear()
        self._calls.clear()
        self._outputs.clear()
        self._transformed.clear()

    def _hook(self, module: nn.Module, hook: Hook) -> None:
        def untransformed(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if is_transformed(first_tensor(output)):
                self._transformed.add(module)
            else:
                hook(module, inputs, output)

        self._handles.append(module.register_forward_hook(untransformed))

    def _is_transformed(self, index: int, probe: str) -> bool:
        """Return whether a probe lacks uses of a row, because they were in a transformation."""
        if self.probes[probe].of in (*OF_WEIGHTS, "parameter"):
            return False
        if index < len(self.layers):
            layer = self.layers[index]
            return not self._transformed.isdisjoint({layer.weighted, layer.response or layer.weighted})
        return self.selected[index - (len(self.rows) - len(self.selected))].module in self._transformed

    def _probes_of(self, tensor: str) -> dict[str, Probe]:
        return {name: probe for name, probe in self.probes.items() if probe.of == tensor}

    def _measure(self, index: int, probes: dict[str, Probe], tensor: Tensor, use: int) -> None:
        """Measure a tensor of one use of a layer, in place of an earlier tensor of that use."""
        for name, probe in probes.items():
            uses = self._uses.setdefault((index, name), Uses())
            is_forward = probe.of in ("response", "output")
            is_joined = probe.combine is None and (is_forward or self._calls[index] > 1)
            if name in self.at_once or is_joined:
                # the nonlinearity that follows may change a response in place
                uses.tensors[use] = tensor.clone() if is_forward else tensor
            if name in self.at_once:
                continue
            if probe.combine is None and uses.summaries.keys() - {use}:  # all are measured as one
                uses.is_lost = uses.is_lost or not uses.summaries.keys() <= uses.tensors.keys()
                continue
            summary = (probe.summarise or probe.measure)(tensor)
            uses.summaries[use] = summary if probe.summarise else one_number(name, summary)
            uses.sizes[use] = tensor.numel()

    def _preactivation_hook(self, index: int, probes: dict[str, Probe]) -> Hook:
        def follow(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            if not in_backward_pass():
                self._calls[index] += 1
            if output.requires_grad:  # false for a frozen layer
                output.register_hook(self._gradient_hook(index, probes))

        return follow

    def _gradient_hook(self, index: int, probes: dict[str, Probe]) -> Callable[[Tensor], None]:
        """Return a hook of z in one use of a layer, which measures its gradient."""
        use, is_recomputed = next(self._numbers), in_backward_pass()

        def measure(gradient: Tensor) -> None:
            self._release_single_uses()
            if any(use in self._uses[index, name] for name in probes if (index, name) in self._uses):
                self._lose(index, probes)  # several backward passes, whose gradients add up
                for name in probes:
                    self._uses[index, name].is_inseparable = True
                return
            self._measure(index, probes, self._whole(gradient), use)
            for name in probes if is_recomputed else ():
                self._uses[index, name].is_inseparable = True

        return measure

    @cached_property
    def _attentions(self) -> dict[nn.MultiheadAttention, dict[str, int]]:
        """Module of attention -> projection -> index of its layer."""
        found: dict[nn.MultiheadAttention, dict[str, int]] = {}
        of_module = {layer.weighted: index for index, layer in enumerate(self.layers)}
        for index, layer in enumerate(self.layers):
            if isinstance(layer.weighted, nn.MultiheadAttention):
                found.setdefault(layer.weighted, {})[layer.projection] = index
                output = of_module.get(layer.weighted.out_proj)
                if output is not None:
                    found[layer.weighted][OUTPUT] = output
        return found

    def _attention_hook(
        self, indices: Mapping[str, int], gradients: dict[str, Probe], responses: dict[str, Probe]
    ) -> Callable[[nn.MultiheadAttention, tuple[Any, ...], dict[str, Any], Any], None]:
        """Return a hook that measures the projections of one module of attention."""
        projections = {name: index for name, index in indices.items() if name != OUTPUT}
        hooks = []
        if OUTPUT in indices:
            hooks += [self._preactivation_hook(indices[OUTPUT], gradients)] if gradients else []
            hooks += [self._response_hook(indices[OUTPUT], responses)] if responses else []

        def measure(
            attention: nn.MultiheadAttention, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
        ) -> None:
            z = first_tensor(output)
            if is_transformed(z):
                self._transformed |= {attention, attention.out_proj}
                return
            given = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
            inputs = [given[name] for name in ("query", "key", "value")]
            if z is None or any(x.is_nested for x in inputs):
                return
            for hook in hooks:
                hook(attention, args, z)
            self._calls.update([] if in_backward_pass() else projections.values())
            if gradients:
                receivers = {
                    name: self._gradient_hook(index, gradients) for name, index in projections.items()
                }
                follow_projections(attention, inputs, z, lambda name, gradient: receivers[name](gradient))
            if responses and not in_backward_pass():
                with torch.no_grad():
                    for (name, index), x in zip(projections.items(), inputs, strict=True):
                        response = self.gather(projected(attention, name, x))
                        self._measure(index, responses, response, next(self._numbers))

        return measure

    def _output_hook(self, index: int, probes: dict[str, Probe]) -> Hook:
        def measure(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is not None and not in_backward_pass():
                self._measure(index, probes, self.gather(tensor.detach()), next(self._numbers))

        return measure

    def _lose(self, index: int, probes: Iterable[str]) -> None:
        """Make the values of a layer missing."""
        for name in probes:
            self._uses[index, name].is_lost = True

    def _release_single_uses(self) -> None:
        """Drop the responses that need not be joined. The forward pass has ended."""
        for (_, name), uses in self._uses.items():
            is_forward = self.probes[name].of in ("response", "output")
            if is_forward and name not in self.at_once and len(uses.tensors) == 1:
                uses.tensors.clear()

    def _response_hook(self, index: int, probes: dict[str, Probe]) -> Hook:
        may_have_norm = self.layers[index].response is None and bool(self._norms)
        counts_gradients = bool(self._probes_of("preactivation_gradient"))  # and calls

        def measure(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            if in_backward_pass():
                return
            use = next(self._numbers)
            self._calls[index] += not counts_gradients
            self._measure(index, probes, self.gather(output.detach()), use)
            if may_have_norm:
                storage = output.untyped_storage()._cdata
                self._outputs[storage] = _Output(index, use, TensorWeakRef(output), output._version)

        return measure

    def _norm_hook(self, probes: dict[str, Probe]) -> Hook:
        """Measure the output of a norm instead of that of a layer, if it is called on the latter."""

        def measure(norm: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            if in_backward_pass() or not inputs:
                return
            given = inputs[0]
            found = self._outputs.pop(given.untyped_storage()._cdata, None)
            z = None if found is None else found.tensor()
            # a view of z, as after a permutation, is z
            if found is None or z is None or z.numel() != given.numel() or given._version != found.version:
                return
            self._measure(found.index, probes, self.gather(output.detach()), found.use)

        return measure


def one_number(probe: str, value: Any) -> Tensor:
    """Return the result of a probe. Raises ValueError if it is not one number."""
    if isinstance(value, Tensor) and not value.dim():
        return value
    what = f"a tensor of the shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
    raise ValueError(f"the probe {probe!r} returned {what}; return a tensor without dimensions")


def first_tensor(output: Any) -> Tensor | None:
    """Return the output of a module, or its first tensor if it is a tuple, list or dict."""
    if isinstance(output, Tensor):
        return output
    values = output.values() if isinstance(output, Mapping) else output
    parts = values if isinstance(values, Iterable) else ()
    return next((part for part in parts if isinstance(part, Tensor)), None)


def is_transformed(tensor: Tensor | None) -> bool:
    """Return whether a transformation of torch.func (vmap, grad) made `tensor`, which must not escape it."""
    return tensor is not None and torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def in_backward_pass() -> bool:
    """Return whether a backward pass of this thread is running, as when it computes activations again."""
    return torch._C._current_graph_task_id() != -1


def joined(tensors: Mapping[int, Tensor]) -> Tensor:
    """Return the tensors of all uses as one: along the batch, or flattened if other dimensions differ."""
    parts: Sequence[Tensor] = [tensors[use] for use in sorted(tensors)]
    if len(parts) == 1:
        return parts[0]
    if len({part.shape[1:] for part in parts}) > 1 or not parts[0].dim():
        parts = [part.flatten() for part in parts]
    return torch.cat(list(parts))


def _of_all(processes: Sequence[Mapping[Key, Uses]]) -> Mapping[Key, Uses]:
    """Return the uses in all processes, one after the other. Several processes have only summaries."""
    if len(processes) == 1:
        return processes[0]
    found: dict[Key, Uses] = {}
    for key, uses in ((key, uses) for process in processes for key, uses in process.items()):
        whole = found.setdefault(key, Uses())
        whole.is_lost = whole.is_lost or uses.is_lost
        for use, summary in uses.summaries.items():
            number = len(whole.summaries)
            whole.summaries[number], whole.sizes[number] = summary, uses.sizes[use]
    return found


def _value(probe: Probe, uses: Uses) -> Tensor:
    """Return the value of a probe over all uses."""
    if len(uses.tensors) > 1 or not uses.summaries:
        return probe.measure(joined(uses.tensors))
    summaries = list(uses.summaries.values())
    if probe.combine is not None and len(summaries) > 1:
        return probe.combine(torch.stack(summaries), list(uses.sizes.values()))
    return summaries[0].flatten()[0]
