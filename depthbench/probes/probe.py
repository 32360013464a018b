"""The definition of a probe: one number per layer, module or parameter, measured in one training step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

from torch import Tensor, nn

Where: TypeAlias = str | type[nn.Module] | tuple[type[nn.Module], ...] | Callable[[str, nn.Module], bool]
Target: TypeAlias = Literal[
    "weight",
    "preactivation_gradient",
    "response",
    "weight_update",
    "weight_gradients",
    "output",
    "inputs",
    "parameter",
]
OF_LAYERS: tuple[Target, ...] = (
    "weight",
    "preactivation_gradient",
    "response",
    "weight_update",
    "weight_gradients",
)
"""What a probe can measure in each weighted layer. The other targets need `where`."""

OF_MODULES: tuple[Target, ...] = ("output", "inputs")
"""What a probe can measure in a module that `where` selects."""

OF_WEIGHTS: tuple[Target, ...] = ("weight", "weight_update", "weight_gradients")
"""What a probe can measure in the weight of a layer."""


@dataclass(frozen=True)
class Probe:
    """A measurement of layers, modules or parameters.

    `measure` computes a number from a tensor: a tensor without dimensions, on the same device.

    >>> Probe("weight", lambda weight: weight.grad.abs().max())  # of each layer
    >>> Probe("parameter", lambda gate: gate.abs(), where="*.gate")
    >>> Probe("output", lambda output: (output == 0).float().mean(), where=nn.ReLU)
    >>> Probe("weight_update", lambda before, after: (after - before).abs().max())

    `of` says which tensor. In each weighted layer (B is the batch size):
    - "weight": the weight parameter after the backward pass, with its `.grad`
    - "preactivation_gradient": dL/dz, where z (B, ...) is the output of the convolution or linear map
    - "response": the output (B, ...) of the layer's norm in the forward pass, or z if it has no norm

    In each weighted layer, two tensors of equal shapes, for `measure(first, second)`:
    - "weight_update": the weight before and after the update of this step
    - "weight_gradients": the gradient of the weight in the step before and in this step; not measured at
      step 0

    In each module or parameter that `where` selects:
    - "output": the output (B, ...) of a module in the forward pass, or the first tensor of a tuple
    - "inputs": the positional inputs of a module in the forward pass, for `measure(*inputs)`
    - "parameter": a parameter after the backward pass, with its `.grad`

    `where` is a class of modules, a tuple of classes, a name pattern, or a function of name and module.
    Names are those of `network.named_modules()` or `network.named_parameters()`. For a parameter, the module
    is the one that holds it, and the name is that of the parameter.

    A weight or parameter without a gradient is not measured, because `measure` may read its `.grad`. With
    `needs_gradient=False` it is measured in every probed step, also if it is frozen or was not used in the
    step.

    `measure_all` is optional. It does the same for the tensors of all layers at once and returns (layers,).
    On a GPU it is called at the end of the step, because starting a kernel for each layer costs more than
    the kernel itself. On a CPU each tensor is measured while it is in the caches. A probe of "inputs" has
    none.

    A step may use a layer several times. The tensors of its uses are then joined along the batch and measured
    as one. If their shapes differ in another dimension, all are flattened first. The optional `combine` saves
    the memory that keeping them takes: it makes this number from the summaries (uses, ...) and the numbers of
    elements of the tensors. A summary is what `measure` returns for one use, or the optional `summarise`, a
    vector (k,) whose first number is that of `measure`. The inputs of several uses are never joined: without
    `combine`, a probe of "inputs" has no value for them. The number of elements is that of the first input.

    Raises ValueError if `where` is missing for an output or a parameter, or given for another tensor, or if
    `needs_gradient` is false for a tensor other than a weight or a parameter.
    """

    of: Target
    measure: Callable[..., Tensor]
    measure_all: Callable[[Sequence[Tensor]], Tensor] | None = None
    combine: Callable[[Tensor, Sequence[int]], Tensor] | None = None
    summarise: Callable[..., Tensor] | None = None
    where: Where | None = None
    needs_gradient: bool = True

    def __post_init__(self) -> None:
        known = (*OF_LAYERS, *OF_MODULES, "parameter")
        if self.of not in known:
            raise ValueError(f"a probe is of {self.of!r}; it can be of {', '.join(known)}")
        if (self.where is None) != (self.of in OF_LAYERS):
            problem = "needs" if self.where is None else "takes no"
            raise ValueError(f"a probe of {self.of!r} {problem} `where`, which selects modules or parameters")
        if self.of == "inputs" and self.measure_all is not None:
            raise ValueError("a probe of 'inputs' takes no `measure_all`")
        if not (self.needs_gradient or self.of in ("weight", "parameter")):
            raise ValueError(f"a probe of {self.of!r} takes no `needs_gradient`")

    def selects(self, name: str, module: nn.Module) -> bool:
        """Return whether `where` selects a module, or the parameter `name` of `module`."""
        if isinstance(self.where, str):
            return fnmatchcase(name, self.where)
        if isinstance(self.where, type | tuple):
            return isinstance(module, self.where)
        return self.where is not None and bool(self.where(name, module))


def probes_of(probes: Mapping[str, Probe], target: Target) -> dict[str, Probe]:
    """Return the `probes` that measure `target`."""
    return {name: probe for name, probe in probes.items() if probe.of == target}
