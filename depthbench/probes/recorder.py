"""Measure probes in probed steps. Other steps have no overhead."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from depthbench.machine.precision import widest_float
from depthbench.networks.layers import weighted_layers
from depthbench.probes.probe import Probe

Hook = Callable[[nn.Module, tuple[Any, ...], Tensor], None]


class Recorder:
    """A context around the forward and backward pass of one probed step.

    >>> with recorder:
    ...     loss(network(x), y).backward()
    ...     values = recorder.values()

    Hooks exist only inside the context. Every number stays on the device, so that fetching `values` is the
    only sync of a probed step. `at_once` keeps the tensors of the probes that can measure all layers together
    until `values` is called. This is faster on a GPU, but needs memory for these tensors.

    If each of `ranks` processes has a part of the batch, `gather` returns the whole tensor of parts (B, ...),
    and probes measure that. The backward pass must start from `ranks` times this part's share of the loss,
    whose mean over the processes is the loss, and weights must have averaged gradients."""

    def __init__(
        self,
        network: nn.Module,
        probes: Mapping[str, Probe],
        at_once: bool = False,
        *,
        gather: Callable[[Tensor], Tensor] = lambda part: part,
        ranks: int = 1,
    ):
        self.gather, self.ranks = gather, ranks
        self.layers = weighted_layers(network)
        self.probes = dict(probes)
        self.at_once = {
            name: probe.measure_all
            for name, probe in self.probes.items()
            if at_once and probe.measure_all is not None
        }
        self._measured: dict[tuple[int, str], Tensor] = {}
        self._kept: dict[str, dict[int, Tensor]] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        self._measured.clear()
        self._kept.clear()
        gradients = self._probes_of("preactivation_gradient")
        responses = self._probes_of("response")
        for index, layer in enumerate(self.layers):
            if gradients:
                hook = self._preactivation_hook(index, gradients)
                self._handles.append(layer.weighted.register_forward_hook(hook))
            if responses:
                hook = self._response_hook(index, responses)
                self._handles.append(layer.response.register_forward_hook(hook))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._kept.clear()

    def values(self) -> Tensor:
        """Return the values (layers, probes), on the device, in the order of `layers` and `probes`.

        The values of a layer that took no part in the step are NaN. A frozen layer has only its response.
        Call this inside the context, after the backward pass."""
        weights = self._probes_of("weight")
        for index, layer in enumerate(self.layers):
            if layer.weighted.weight.grad is not None:
                self._measure(index, weights, layer.weighted.weight)
        for name, kept in self._kept.items():
            for index, value in zip(kept, self.at_once[name](list(kept.values())), strict=True):
                self._measured[index, name] = value
        device = self.layers[0].weighted.weight.device
        dtype = widest_float(device)
        missing = torch.full((), float("nan"), dtype=dtype, device=device)
        keys = [(index, name) for index in range(len(self.layers)) for name in self.probes]
        flat = torch.stack([self._measured.get(key, missing).to(dtype) for key in keys])
        return flat.reshape(len(self.layers), len(self.probes))

    def _probes_of(self, tensor: str) -> dict[str, Probe]:
        return {name: probe for name, probe in self.probes.items() if probe.of == tensor}

    def _measure(self, index: int, probes: dict[str, Probe], tensor: Tensor) -> None:
        for name, probe in probes.items():
            if name in self.at_once:
                # the nonlinearity that follows may change a response in place
                kept = tensor.clone() if probe.of == "response" else tensor
                self._kept.setdefault(name, {})[index] = kept
            else:
                self._measured[index, name] = probe.measure(tensor)

    def _preactivation_hook(self, index: int, probes: dict[str, Probe]) -> Hook:
        def measure(gradient: Tensor) -> None:
            whole = self.gather(gradient)
            self._measure(index, probes, whole if self.ranks == 1 else whole / self.ranks)

        def follow(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            if output.requires_grad:  # false for frozen layers
                output.register_hook(measure)

        return follow

    def _response_hook(self, index: int, probes: dict[str, Probe]) -> Hook:
        def measure(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            self._measure(index, probes, self.gather(output.detach()))

        return measure
