"""The hooks of one step, which measure gradients of pre-activations, responses and outputs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import TensorWeakRef

from depthbench.networks.attention import projected
from depthbench.networks.layers import Layer
from depthbench.probes.attention import follow_projections
from depthbench.probes.grad_mode import GradMode
from depthbench.probes.own_module import after_forward
from depthbench.probes.probe import OF_WEIGHTS, Probe, probes_of
from depthbench.probes.rows import Selected
from depthbench.probes.uses import StepUses
from depthbench.probes.weights import Hook

OUTPUT = "out_proj"


@dataclass(frozen=True)
class _Output:
    """An output of a layer, whose norm may come."""

    index: int
    use: int
    tensor: TensorWeakRef
    version: int
    """A number that grows when the tensor is changed in place."""


class StepHooks:
    """The hooks on layers and on `selected` modules (row -> module or parameter), which fill `uses`.

    norms: the modules that may follow a layer as its norm. Calls in a pass without gradients, as
    `grad_mode` says, are not uses. If processes have parts of the batch, `gather` returns the whole tensor of
    parts (B, ...), and `whole` the dL/dz of the whole batch."""

    def __init__(
        self,
        layers: Sequence[Layer],
        selected: Mapping[int, Selected],
        uses: StepUses,
        *,
        norms: Sequence[nn.Module],
        grad_mode: GradMode,
        gather: Callable[[Tensor], Tensor],
        whole: Callable[[Tensor], Tensor],
    ):
        self._layers, self._selected, self._norms = layers, selected, norms
        self._grad_mode = grad_mode
        self._uses, self._gather, self._whole = uses, gather, whole
        self._gradients = probes_of(uses.probes, "preactivation_gradient")
        self._responses = probes_of(uses.probes, "response")
        self._outputs: dict[int, _Output] = {}  # by the address of the storage
        self.transformed: set[nn.Module] = set()
        """Modules that were called in a transformation of torch.func."""
        self.without_gradients: set[nn.Module] = set()
        """Modules that were called in a pass without gradients, e.g. an evaluation."""
        self.handles: list[RemovableHandle] = []
        """The handles that remove the hooks of the step. Empty outside a step."""

    @property
    def counts_calls(self) -> bool:
        """Whether the calls of layers are counted."""
        return bool(self._gradients or self._responses)

    def attach(self) -> None:
        """Add the hooks that the probes need."""
        for index, layer in enumerate(self._layers):
            if isinstance(layer.weighted, nn.MultiheadAttention):
                continue
            if self._gradients:
                self.add(layer.weighted, self._preactivation_hook(index))
            if self._responses:
                self.add(layer.response or layer.weighted, self._response_hook(index))
        for attention, indices in self._attentions.items():
            if self.counts_calls:
                hook = self._attention_hook(indices)
                self.handles.append(after_forward(attention, hook, with_kwargs=True))
        for index, each in self._selected.items():
            if each.parameter is None and (of_output := probes_of(each.probes, "output")):
                self.add(each.module, self._output_hook(index, of_output))
            if each.parameter is None and (of_inputs := probes_of(each.probes, "inputs")):
                self.add(each.module, self._inputs_hook(index, of_inputs))
        if self._responses and any(layer.response is None for layer in self._layers):
            for norm in self._norms:
                self.add(norm, self._norm_hook())

    def add(self, module: nn.Module, hook: Hook) -> None:
        """Add a forward hook, which is not called in a transformation of torch.func or without gradients."""

        def untransformed(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if is_transformed(first_tensor(output)):
                self.transformed.add(module)
            elif not self._grad_mode.is_enabled():
                self.without_gradients.add(module)
            else:
                hook(module, inputs, output)

        self.handles.append(after_forward(module, untransformed))

    def remove(self) -> None:
        """Remove all hooks."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()

    def clear(self) -> None:
        """Forget the step."""
        self._outputs.clear()
        self.transformed.clear()
        self.without_gradients.clear()

    def lacks_uses(self, index: int, probe: str) -> bool:
        """Return whether a probe lacks uses of a row, because they were in a transformation."""
        if self._uses.probes[probe].of in (*OF_WEIGHTS, "parameter"):
            return False
        if index < len(self._layers):
            layer = self._layers[index]
            return not self.transformed.isdisjoint({layer.weighted, layer.response or layer.weighted})
        return self._selected[index].module in self.transformed

    def _preactivation_hook(self, index: int) -> Hook:
        def follow(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            if not in_backward_pass():
                self._uses.calls[index] += 1
            if output.requires_grad:  # false for a frozen layer
                _register_hook(module, output, self._gradient_hook(index))

        return follow

    def _gradient_hook(self, index: int) -> Callable[[Tensor], None]:
        """Return a hook of z in one use of a layer, which measures its gradient."""
        probes, uses = self._gradients, self._uses
        use, is_recomputed = uses.next_number(), in_backward_pass()

        def measure(gradient: Tensor) -> None:
            uses.release_single_uses()
            if uses.is_measured(index, probes, use):
                uses.lose(index, probes)
                return
            uses.measure(index, probes, self._whole(gradient), use)
            if is_recomputed:
                uses.make_inseparable(index, probes)

        return measure

    @cached_property
    def _attentions(self) -> dict[nn.MultiheadAttention, dict[str, int]]:
        """Module of attention -> projection -> index of its layer."""
        found: dict[nn.MultiheadAttention, dict[str, int]] = {}
        of_module = {layer.weighted: index for index, layer in enumerate(self._layers)}
        for index, layer in enumerate(self._layers):
            if isinstance(layer.weighted, nn.MultiheadAttention):
                found.setdefault(layer.weighted, {})[layer.projection] = index
                output = of_module.get(layer.weighted.out_proj)
                if output is not None:
                    found[layer.weighted][OUTPUT] = output
        return found

    def _attention_hook(
        self, indices: Mapping[str, int]
    ) -> Callable[[nn.MultiheadAttention, tuple[Any, ...], dict[str, Any], Any], None]:
        """Return a hook that measures the projections of one module of attention."""
        projections = {name: index for name, index in indices.items() if name != OUTPUT}
        hooks = []
        if OUTPUT in indices:
            hooks += [self._preactivation_hook(indices[OUTPUT])] if self._gradients else []
            hooks += [self._response_hook(indices[OUTPUT])] if self._responses else []

        def measure(
            attention: nn.MultiheadAttention, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
        ) -> None:
            z = first_tensor(output)
            if is_transformed(z):
                self.transformed.update({attention, attention.out_proj})
                return
            if not self._grad_mode.is_enabled():
                self.without_gradients.update({attention, attention.out_proj})
                return
            given = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
            inputs = [given[name] for name in ("query", "key", "value")]
            if z is None or any(x.is_nested for x in inputs):
                return
            for hook in hooks:
                hook(attention, args, z)
            self._uses.calls.update([] if in_backward_pass() else projections.values())
            if self._gradients:
                receivers = {name: self._gradient_hook(index) for name, index in projections.items()}
                follow_projections(attention, inputs, z, lambda name, gradient: receivers[name](gradient))
            if self._responses and not in_backward_pass():
                with torch.no_grad():
                    for (name, index), x in zip(projections.items(), inputs, strict=True):
                        response = self._gather(projected(attention, name, x))
                        self._uses.measure(index, self._responses, response, self._uses.next_number())

        return measure

    def _output_hook(self, index: int, probes: Mapping[str, Probe]) -> Hook:
        def measure(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is not None and not in_backward_pass():
                self._uses.measure(index, probes, self._gather(tensor.detach()), self._uses.next_number())

        return measure

    def _inputs_hook(self, index: int, probes: Mapping[str, Probe]) -> Hook:
        @torch.no_grad()
        def measure(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if not in_backward_pass():
                whole = [self._gather(x.detach()) if isinstance(x, Tensor) else x for x in inputs]
                self._uses.measure_inputs(index, probes, whole, self._uses.next_number())

        return measure

    def _response_hook(self, index: int) -> Hook:
        may_have_norm = self._layers[index].response is None and bool(self._norms)

        def measure(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            if in_backward_pass():
                return
            use = self._uses.next_number()
            self._uses.calls[index] += not self._gradients  # whose hooks count calls
            self._uses.measure(index, self._responses, self._gather(output.detach()), use)
            if may_have_norm:
                storage = output.untyped_storage()._cdata
                self._outputs[storage] = _Output(index, use, TensorWeakRef(output), output._version)

        return measure

    def _norm_hook(self) -> Hook:
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
            self._uses.measure(found.index, self._responses, self._gather(output.detach()), found.use)

        return measure


def _register_hook(layer: nn.Module, output: Tensor, hook: Callable[[Tensor], None]) -> None:
    """Call `hook` with the gradient of an output of a layer, also if the output is then changed in place.

    A linear map of more than two dimensions returns a view. An operation in place replaces the history of a
    view, and with it its hooks, but not that of the tensor that it views."""
    base = output._base if isinstance(layer, nn.Linear) else None
    if base is None or base.grad_fn is None or base.numel() != output.numel():
        output.register_hook(hook)
    else:
        shape = output.shape
        base.register_hook(lambda gradient: hook(gradient.reshape(shape)))


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
