"""Measure one update of a loop that depthbench does not control."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, get_args
from weakref import WeakSet

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Variable
from torch.optim.optimizer import register_optimizer_step_pre_hook

from depthbench.errors import BadInput
from depthbench.networks.layers import Layer, Weighted
from depthbench.probes.hooks import first_tensor
from depthbench.probes.order import OrderOfUse, stored_end, stored_order
from depthbench.probes.probe import OF_MODULES, Probe
from depthbench.probes.reasons import FROZEN
from depthbench.probes.recorder import Recorder
from depthbench.probes.rows import Row, Selected, rows_of
from depthbench.probes.uses import Key, Uses
from depthbench.watching.scaling import Scale, noticing_scale
from depthbench.watching.wrappers import Subject, is_sharded, whole

if TYPE_CHECKING:
    import pandas as pd

OF_BATCHES = ("preactivation_gradient", "response", *OF_MODULES)
"""Targets of which each process has a part. Weights are the same in all processes."""

NO_BACKWARD = "no backward pass in the step"
NOT_UPDATED = "no optimiser updates it in the step"
REPLACED = "no longer in the model"
ADDED = "added to the model after the watch began"
USED_UP = "its gradient is used up within the backward pass"


class LossScale:
    """The factor by which a GradScaler multiplied the loss of a step that `ranks` processes share."""

    def __init__(self, ranks: int):
        self._ranks = ranks
        self.value: Tensor | None = None
        """None: there was no GradScaler."""

    def unscaled(self, gradient: Tensor) -> Tensor:
        """Return a gradient divided by the scale, in float32 or wider."""
        if self.value is None:
            return gradient
        wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
        return wide / self.value.to(gradient.device)

    def whole(self, gradient: Tensor) -> Tensor:
        """Return dL/dz of the mean loss over processes, given dL/dz of the scaled loss of this process."""
        unscaled = self.unscaled(gradient)
        return unscaled if self._ranks == 1 else unscaled / self._ranks


class LoopRecorder(Recorder):
    """A context around one update: its forward and backward passes, and the call of its optimiser.

    It measures weights and their gradients at the end of each backward pass, before the loop clips or clears
    them. The last measurement before an optimiser updates a layer counts, because it has the accumulated
    gradient. Pre-activations and responses cover all forward passes before the update. Later passes in the
    step do not count, for example when an optimiser evaluates its closure again.

    If a GradScaler scaled the loss, gradients are divided by its scale before they are measured. If several
    processes train together, dL/dz is the gradient of the mean loss over the processes, and `collected` joins
    what all of them measured."""

    def __init__(self, subject: Subject, probes: Mapping[str, Probe], each_use: int = 0):
        self._scale = LossScale(subject.ranks)
        super().__init__(subject.network, probes, each_use=each_use, whole=self._scale.whole)
        for name, probe in probes.items():
            if subject.group is not None and probe.of in OF_BATCHES and probe.combine is None:
                raise BadInput(
                    f"watch: the probe {name} cannot be joined over processes, because it has no "
                    "`combine`; leave it out with probes="
                )
        self.layers = [each._replace(name=_without_wrappers(each.name)) for each in self.layers]
        self.selected = {
            row: replace(each, name=_without_wrappers(each.name)) for row, each in self.selected.items()
        }
        self.rows = rows_of(self.layers, [*self.selected.values()], each_use)
        self._order = None if self._order is None else OrderOfUse(self.layers, subject.network)
        self.subject = subject
        self._modules = WeakSet(subject.network.modules())
        self._may_be_compiled = True  # the loop may compile it
        self._used_up: set[int] = set()  # layers whose gradient was cleared within the backward pass
        self._passes = 0  # backward passes in this step
        self._is_probed = self._keeps = False
        self._following: dict[str, Tensor] = {}  # gradients that the next step is compared with
        self.result: Tensor | None = None
        """The values (rows, probes) of the last step, if it was probed."""
        self._task = -1  # the backward pass that will measure at its end

    def numbered_as(self, layers: "pd.DataFrame") -> list[Row]:
        """Number the rows as in a stored table of this run, and return them."""
        of_used = [name for name, probe in self.probes.items() if probe.needs_gradient]
        self.restore_layer_order(stored_order(layers, of_used), stored_end(layers))
        return self.rows

    @contextmanager
    def measuring(self, *, probed: bool, keeps: bool) -> Iterator[None]:
        """Make a context around a step. `result` then holds the values, if the step is probed.

        keeps: whether to keep the gradients for the probes of the next step."""
        self._is_probed, self._keeps = probed, keeps and self.compares_gradients
        self._following, self.result = {}, None
        if not (self._is_probed or self._keeps):
            yield
            return
        with self if probed else self.preparing():
            self._watch_passes()
            yield
            if self._keeps:
                self._pairs.kept.keep(self._following)
            if probed:
                self.result = self._without_replaced(self._with_updates(self.collected()))

    def _without_replaced(self, values: Tensor) -> Tensor:
        """Return `values` (rows, probes) without layers that are no longer in the model. Names added ones."""
        modules = dict(self.subject.network.named_modules())
        present = set(modules.values())
        for index, layer in enumerate(self.layers):
            if layer.weighted not in present:
                self.reasons[layer.name] = REPLACED
                self.is_measured[index] = False
                values[index] = torch.nan
        added = [
            name
            for name, module in modules.items()
            if isinstance(module, get_args(Weighted)) and module not in self._modules
        ]
        for name in map(_without_wrappers, added):
            if self.reasons.get(name) != REPLACED:
                self.reasons[name] = ADDED
        return values

    def _with_updates(self, values: Tensor) -> Tensor:
        """Measure the updates of layers that an optimiser has updated in the step."""
        before = {index: weight for index, weight in self._pairs.before.items() if index in self._uses.closed}
        self._pairs.before = before
        updates = [column for column, probe in enumerate(self.probes.values()) if probe.of == "weight_update"]
        for index in set(range(len(self.layers))) - before.keys() if updates else ():
            if self.is_measured[index, updates].any():
                self.reasons.setdefault(self.layers[index].name, NOT_UPDATED)
            self.is_measured[index, updates] = False
        return self.with_updates(values)

    def _watch_passes(self) -> None:
        """Follow backward passes, optimisers and gradient scalers until the step ends."""
        self._uses.first = self._uses.next_number()  # outputs of earlier steps do not count
        self._contexts.enter_context(noticing_scale(self._receive_scale))
        self._hooks.handles.append(register_optimizer_step_pre_hook(self._before_update))
        for index, layer in enumerate(self.layers):
            self._hooks.add(layer.weighted, self._await_backward)
            for parameter in layer.weight_parameters:
                if parameter.requires_grad and not is_sharded(parameter):
                    await_end = partial(self._end_of_gradient, index)
                    self._hooks.handles.append(parameter.register_post_accumulate_grad_hook(await_end))

    def _clear(self) -> None:
        super()._clear()
        self._used_up.clear()
        self._scale.value = None
        self._task, self._passes = -1, 0

    def _await_backward(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        tensor = first_tensor(output)
        if tensor is not None and tensor.requires_grad:
            tensor.register_hook(lambda gradient: self._await_end())

    def _end_of_gradient(self, index: int, parameter: Tensor) -> None:
        if parameter.grad is None:  # cleared, e.g. by an optimiser within the backward pass
            self._used_up.add(index)
        self._await_end()

    def _await_end(self) -> None:
        """Measure at the end of this backward pass, after all other callbacks.

        In such callbacks, DistributedDataParallel and fully_shard finish their gradients."""
        task = torch._C._current_graph_task_id()
        if task == self._task or not self._hooks.handles:
            return
        self._task = task
        engine = Variable._execution_engine
        engine.queue_callback(lambda: engine.queue_callback(self._end_of_backward))

    @torch.no_grad()
    def _end_of_backward(self) -> None:
        self._task = -1
        if not self._hooks.handles:  # the step has ended
            return
        self._passes += 1
        if self._is_probed:
            self.measure_weights()
        if self._keeps:
            self._following |= {
                self.layers[index].name: weight.grad.clone()
                for index, weight in self._weights().items()
                if weight.grad is not None
            }

    def _before_update(self, optimizer: Any, args: Any, kwargs: Any) -> Any:
        """End the measurement of the layers that an optimiser updates.

        With a closure, this is after its first evaluation."""
        owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        layers = [
            index
            for index, parameters in enumerate(map(_parameters_of, self.layers))
            if any(id(parameter) in owned for parameter in parameters)
        ]
        layers += [
            index
            for index, each in self.selected.items()
            if any(id(parameter) in owned for parameter in _parameters_of(each))
        ]
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            self._uses.closed.update(layers)
            return None

        def evaluate(*arguments: Any, **keywords: Any) -> Any:
            try:
                return closure(*arguments, **keywords)
            finally:
                self._uses.closed.update(layers)

        if "closure" in kwargs:
            return args, {**kwargs, "closure": evaluate}
        return (args[0], evaluate, *args[2:]), kwargs

    def _receive_scale(self, scaler: torch.amp.GradScaler, scale: Scale) -> None:
        self._scale.value = scale(scaler, torch.ones((), device=self._device))

    def _weights(self) -> dict[int, Tensor]:
        """Return the whole weights of layers that are not updated yet, with unscaled gradients."""
        weights = super()._weights()
        closed = self._uses.closed
        return {index: self._current(index, weights[index]) for index in weights if index not in closed}

    def _differentiated(self, index: int, parameter: Tensor) -> Tensor | None:
        return whole(parameter) if parameter.grad is None else self._current(index, parameter)

    def _untrained(self, index: int) -> Tensor | None:
        if index in self._uses.closed or index in self._used_up:  # it may be updated already
            return None
        weight = super()._untrained(index)
        return None if weight is None else whole(weight)

    def _current(self, index: int, weight: Tensor) -> Tensor:
        must_average = index in self._step_weights.computed and self.subject.group is not None
        if weight.grad is None or (self._scale.value is None and not is_sharded(weight) and not must_average):
            return weight
        gradient = whole(weight.grad)
        if must_average:  # only gradients of parameters are averaged already
            gradient = gradient.clone()
            dist.all_reduce(gradient, group=self.subject.group)
            gradient /= self.subject.ranks
        gradient = self._scale.unscaled(gradient)
        copy = (
            whole(weight.detach()).to(gradient.dtype).detach()
        )  # a new tensor object, which can have another gradient
        copy.grad = gradient
        return copy

    def _current_weight(self, index: int) -> Tensor:
        return whole(super()._current_weight(index))

    def _reason(self, index: int) -> str:
        if index in self._used_up:
            return USED_UP
        reason = super()._reason(index)
        return NO_BACKWARD if reason != FROZEN and not self._passes else reason

    def _uses_by_process(self) -> Sequence[Mapping[Key, Uses]]:
        """Return the uses in each process. Weights, which are the same in all processes, come once more."""
        group = self.subject.group
        if group is None:
            return [self._uses.by_key]
        own = {
            key: (
                [(uses.summaries[use].cpu(), uses.sizes[use]) for use in sorted(uses.summaries)],
                uses.is_lost,
                uses.is_inseparable,
            )
            for key, uses in self._uses.by_key.items()
            if self.probes[key[1]].of in OF_BATCHES
        }
        everyone: list[Any] = [None] * self.subject.ranks
        dist.all_gather_object(everyone, own, group=group)
        by_key = self._uses.by_key
        weights = {key: uses for key, uses in by_key.items() if self.probes[key[1]].of not in OF_BATCHES}
        return [weights, *({key: self._received(*uses) for key, uses in each.items()} for each in everyone)]

    def _received(self, parts: Sequence[tuple[Tensor, int]], is_lost: bool, is_inseparable: bool) -> Uses:
        """Return the uses that a process sent, numbered in their order."""
        return Uses(
            {use: summary.to(self._device) for use, (summary, _) in enumerate(parts)},
            {use: size for use, (_, size) in enumerate(parts)},
            is_lost=is_lost,
            is_inseparable=is_inseparable,
        )


def _parameters_of(measured: Layer | Selected) -> list[nn.Parameter]:
    """Return the parameters whose update ends the measurement of a row."""
    if isinstance(measured, Layer):
        return measured.weight_parameters
    return list(measured.module.parameters()) if measured.parameter is None else [measured.parameter]


def _without_wrappers(name: str) -> str:
    """Return the name that a module has without torch.compile."""
    return name.replace("_orig_mod.", "")
