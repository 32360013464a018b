"""Measure probes in probed steps. Other steps have no overhead.

Probes that compare the gradients of two steps also need the step before a probed one."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from depthbench.machine.precision import widest_float
from depthbench.networks.cost import is_built_in
from depthbench.networks.layers import NORMS, current_weight, weighted_layers
from depthbench.probes.functional import FunctionalUses
from depthbench.probes.grad_mode import GradMode
from depthbench.probes.hooks import StepHooks, in_backward_pass
from depthbench.probes.order import OrderOfUse
from depthbench.probes.pairs import Pairs
from depthbench.probes.probe import OF_WEIGHTS, Probe, probes_of
from depthbench.probes.reasons import (
    FROZEN,
    FUNCTIONAL,
    NOT_IN_GRAD,
    PARTLY,
    SEVERAL,
    TRANSFORMED,
    UNREACHED,
    UNUSED,
    WITHOUT_GRADIENTS,
    reasons_of_layers,
    reasons_of_probes,
    reasons_of_selected,
)
from depthbench.probes.rows import rows_of, selected
from depthbench.probes.uncompiled import uncompiled
from depthbench.probes.uses import Key, StepUses, Uses, one_number
from depthbench.probes.weights import StepWeights


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

    A value covers every use of a layer in the step (see Probe). A pass without gradients, such as an
    evaluation or a target in `torch.no_grad()`, is not a use, unless the network itself uses a layer only
    without gradients. A forward pass that a backward pass repeats to save memory is not another use. Tensors
    of single uses are kept at most until the backward pass begins. Those that a probe can `combine` are not
    kept. `each_use=N` adds rows for the first N uses of each layer.

    If each of `ranks` processes has a part of the batch, `gather` returns the whole tensor of parts (B, ...),
    and probes measure that. The backward pass must start from `ranks` times this part's share of the loss,
    whose mean over the processes is the loss, and weights must have averaged gradients. `whole` replaces this
    rule: it maps the dL/dz of this process to the one to measure."""

    def __init__(
        self,
        network: nn.Module,
        probes: Mapping[str, Probe],
        at_once: bool = False,
        *,
        each_use: int = 0,
        gather: Callable[[Tensor], Tensor] = lambda part: part,
        ranks: int = 1,
        whole: Callable[[Tensor], Tensor] | None = None,
    ):
        self.layers = weighted_layers(network)
        self.probes = dict(probes)
        self.each_use = each_use
        others = selected(network, self.probes)
        self.rows = rows_of(self.layers, others, each_use)
        """The meaning of the rows of `values`: layers, their single uses, selected modules and parameters.

        If the network has no `weighted_layers()`, a probed step shows the order of its layers. The rows then
        get other numbers and stages."""
        self.selected = dict(enumerate(others, len(self.rows) - len(others)))
        """Row -> the module or parameter that probes select."""
        self._order = None if hasattr(network, "weighted_layers") else OrderOfUse(self.layers, network)
        self.at_once = {
            name: probe.measure_all
            for name, probe in self.probes.items()
            if at_once and probe.measure_all is not None
        }
        self._may_be_compiled = not is_built_in(network)
        self._device = next(network.parameters()).device
        self._uses = StepUses(self.probes, self.at_once)
        self._network, self._grad_mode = network, GradMode()
        self._hooks = StepHooks(
            self.layers,
            self.selected,
            self._uses,
            norms=[module for module in network.modules() if isinstance(module, NORMS)],
            grad_mode=self._grad_mode,
            gather=gather,
            whole=whole or partial(_whole, gather=gather, ranks=ranks),
        )
        self._functional = FunctionalUses(self.layers, network) if self._must_find_functional_uses else None
        self._step_weights = StepWeights(self.layers, partial(_mean, gather=gather, ranks=ranks))
        self._pairs = Pairs(self.probes)
        self._with_gradient: set[int] = set()  # the layers with a gradient when weights were measured
        self._contexts = ExitStack()
        self.is_measured = np.ones((len(self.rows), len(self.probes)), dtype=bool)
        """Which of the last `values` were measured."""
        self.reasons: dict[str, str] = {}
        """Layer, module or parameter -> why values were not measured in the last step."""

    @property
    def _must_find_functional_uses(self) -> bool:
        """Whether the network may use weights without calls of layers, and a probe measures these calls."""
        return self._may_be_compiled and self._hooks.counts_calls

    @property
    def compares_gradients(self) -> bool:
        """Whether a probe compares the gradients of a probed step with those of the step before."""
        return self._pairs.compares_gradients

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
            self._pairs.kept.keep(
                {
                    self.layers[index].name: weight.grad
                    for index, weight in self._weights().items()
                    if weight.grad is not None
                }
            )

    def note_replay(self, keeps: bool) -> None:
        """Note that a captured step was replayed. keeps: whether it kept gradients."""
        self._pairs.kept.note_replay(keeps)

    @torch.no_grad()
    def with_updates(self, values: Tensor) -> Tensor:
        """Return the `values` of this step, completed with the probes of `weight_update`.

        Call this after the update, inside the context or after it."""
        measured = self._pairs.of_updates(self._current_weight)
        if not measured:
            return values
        values = values.clone()
        columns = {name: column for column, name in enumerate(self.probes)}
        for (index, name), value in measured.items():
            values[index, columns[name]] = one_number(name, value)
        return values

    @property
    def numbered_by(self) -> str:
        """How layers are numbered: as "named" by the network, or in the order of "use"."""
        return "named" if self._order is None else "use"

    def layer_order(self) -> list[str]:
        """Return the names of the layers in the order of use, as far as known, for a checkpoint."""
        return [] if self._order is None else self._order.state()

    def last_layer(self) -> str:
        """Return the name of the layer that ends the network, if a step showed it, for a checkpoint."""
        return "" if self._order is None else self._order.end

    def restore_layer_order(self, names: Sequence[str], last: str = "") -> None:
        """Go back to a `layer_order` and `last_layer`."""
        if self._order is not None:
            self._order.restore(names, last)
            self._number_rows()

    def _number_rows(self) -> None:
        """Number the rows of layers in their order of use."""
        if self._order is not None:
            layers, numbers = self._order.numbered()
            self.rows = rows_of(layers, [*self.selected.values()], self.each_use, numbers=numbers)

    def state(self) -> dict[str, Tensor]:
        """Return the gradients that the next step is compared with, for a checkpoint: layer -> dL/dW."""
        return self._pairs.kept.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to `state`."""
        self._pairs.kept.restore(state, self._device)

    def __enter__(self) -> Self:
        self._clear()
        self._pairs.before.clear()
        self._force_eager()
        self._follow_weights()
        self._hooks.attach()
        self._hooks.handles += [] if self._order is None else self._order.hooks(self._is_no_use)
        self._hooks.handles += [] if self._functional is None else self._functional.hooks()
        self._hooks.handles += self._grad_mode.hooks(self._network) if self._hooks.handles else []
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._leave()

    def _is_no_use(self) -> bool:
        """Return whether the present call of a layer is not a use of it in the step."""
        return in_backward_pass() or not self._grad_mode.is_enabled()

    def _leave(self) -> None:
        self._hooks.remove()
        self._contexts.close()
        self._clear()

    def _clear(self) -> None:
        self._with_gradient.clear()
        self._pairs.clear()
        self._step_weights.clear()
        self._uses.clear()
        self._hooks.clear()
        if self._functional is not None:
            self._functional.clear()

    def _force_eager(self) -> None:
        """Run functions that a user's network compiles uncompiled."""
        if self._may_be_compiled:
            self._contexts.enter_context(uncompiled())

    def _follow_weights(self) -> None:
        """Collect the gradients of the weights that are computed from parameters."""
        if any(probe.of in OF_WEIGHTS for probe in self.probes.values()):
            self._step_weights.follow(self._hooks.add)

    @torch.no_grad()
    def values(self) -> Tensor:
        """Return the values (rows, probes), on the device, in the order of `rows` and `probes`.

        The values of a layer that took no part in the step are NaN. `is_measured` distinguishes them from
        measured NaN. A frozen layer has only its response, and what probes of its weight measure without a
        gradient. Call this inside the context, after the backward pass. Raises ValueError if a probe returns
        something other than one number."""
        self.measure_weights()
        return self.collected()

    def measure_weights(self) -> None:
        """Measure weights and parameters as they are now. Replaces an earlier measurement in this step."""
        for index, layer in enumerate(self.layers):
            if any(parameter.grad is not None for parameter in layer.weight_parameters):
                self._with_gradient.add(index)
        trained = {index: weight for index, weight in self._weights().items() if weight.grad is not None}
        of_weights = probes_of(self.probes, "weight")
        without_gradient = {name: probe for name, probe in of_weights.items() if not probe.needs_gradient}
        for index in range(len(self.layers)) if of_weights else ():
            if index in trained:
                self._uses.measure_again(index, of_weights, trained[index])
            elif without_gradient and (weight := self._untrained(index)) is not None:
                self._uses.measure_again(index, without_gradient, weight)
        for index, each in self.selected.items():
            parameter = None if each.parameter is None else self._differentiated(index, each.parameter)
            if parameter is not None:
                has_gradient = parameter.grad is not None
                probes = {k: p for k, p in each.probes.items() if has_gradient or not p.needs_gradient}
                self._uses.measure_again(index, probes, parameter)
        self._pairs.compare(trained, [layer.name for layer in self.layers])

    def collected(self) -> Tensor:
        """Return `values` as they were measured so far."""
        if self._order is not None and self._order.end_pass():
            self._number_rows()
        for (index, name), uses in self._uses.by_key.items():
            if self._hooks.lacks_uses(index, name):
                uses.is_lost = uses.is_inseparable = True
        self._uses.drop_targets()
        processes = self._uses_by_process()
        measured = {
            **self._pairs.values,
            **self._uses.values(processes),
            **self._uses.values_of_each(processes, len(self.layers), self.each_use),
        }
        dtype = widest_float(self._device)
        missing = torch.full((), float("nan"), dtype=dtype, device=self._device)
        keys = [(index, name) for index in range(len(self.rows)) for name in self.probes]
        self.is_measured = np.array([key in measured for key in keys], bool).reshape(self.is_measured.shape)
        self.reasons = self._reasons(measured)
        numbers = [one_number(key[1], measured.get(key, missing)) for key in keys]
        flat = torch.stack([number.to(self._device, dtype) for number in numbers])
        return flat.reshape(len(self.rows), len(self.probes))

    def _reasons(self, measured: Collection[Key]) -> dict[str, str]:
        """Return name of a layer, module or parameter -> why values were not measured.

        If no gradients of the step before were kept, their comparison does not count as missing."""
        has_earlier = bool(self._pairs.earlier())
        of_layers = {
            name: probe
            for name, probe in self.probes.items()
            if probe.where is None and (has_earlier or probe.of != "weight_gradients")
        }
        partly = () if self._functional is None else sorted(self._functional.found)
        return {
            **{self.layers[index].name: PARTLY for index in partly if self._uses.calls[index]},
            **reasons_of_layers(self.layers, of_layers, measured, self._reason),
            **reasons_of_selected(self.selected, measured, self._hooks.transformed),
            **reasons_of_probes(self.probes, self.selected),
        }

    def _reason(self, index: int) -> str:
        """Return why a value of a layer was not measured."""
        parameters = self.layers[index].weight_parameters
        if not any(parameter.requires_grad for parameter in parameters):
            return FROZEN
        if self.layers[index].weighted in self._hooks.transformed:
            return TRANSFORMED
        has_gradient = index in self._with_gradient
        if self._hooks.counts_calls and not self._uses.calls[index]:
            is_evaluated = self.layers[index].weighted in self._hooks.without_gradients
            return FUNCTIONAL if has_gradient else WITHOUT_GRADIENTS if is_evaluated else UNUSED
        if has_gradient:
            return SEVERAL
        gradients = probes_of(self.probes, "preactivation_gradient")
        return NOT_IN_GRAD if any((index, name) in self._uses.by_key for name in gradients) else UNREACHED

    def _weights(self) -> dict[int, Tensor]:
        """Return the weights that the layers multiply with, each with its gradient."""
        return self._step_weights.all()

    def _untrained(self, index: int) -> Tensor | None:
        """Return the weight of a layer without a gradient, or None if it is no longer that of this step."""
        computed = self._step_weights.computed.get(index)  # which a parametrisation may draw at random
        return self._current_weight(index) if computed is None else computed

    def _current_weight(self, index: int) -> Tensor:
        return current_weight(self.layers[index])

    def _differentiated(self, index: int, parameter: Tensor) -> Tensor | None:
        """Return the parameter of a row, with its gradient."""
        return parameter

    def _uses_by_process(self) -> Sequence[Mapping[Key, Uses]]:
        """Return the uses in each process. `gather` has already added the other processes."""
        return [self._uses.by_key]


def _whole(gradient: Tensor, *, gather: Callable[[Tensor], Tensor], ranks: int) -> Tensor:
    """Return the gradient of the loss of the whole batch from that of this process."""
    whole = gather(gradient)
    return whole if ranks == 1 else whole / ranks


def _mean(gradient: Tensor, *, gather: Callable[[Tensor], Tensor], ranks: int) -> Tensor:
    """Return the gradient of a weight from that of this process."""
    return gradient if ranks == 1 else gather(gradient[None]).mean(0)
