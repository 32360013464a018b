"""The definition of a probe: one number per layer, measured in one training step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor


@dataclass(frozen=True)
class Probe:
    """`measure` turns a tensor of one layer into a number: a tensor without dimensions, on the same device.

    `of` says which tensor (B is the batch size):
    - "weight": the weight parameter after the backward pass, with its `.grad`
    - "preactivation_gradient": dL/dz, where z (B, ...) is the output of the convolution or linear map
    - "response": the output (B, ...) of the layer's norm in the forward pass, or z if it has no norm

    `measure_all` is optional. It does the same for the tensors of all layers at once and returns (layers,).
    On a GPU it is called at the end of the step, because starting a kernel for each layer costs more than
    the kernel itself. On a CPU each tensor is measured while it is in the caches.

    A step may use a layer several times. The tensors of its uses are then joined along the batch and measured
    as one. If their shapes differ in another dimension, all are flattened first. The optional `combine` saves
    the memory that keeping them takes: it makes this number from the summaries (uses, ...) and the numbers of
    elements of the tensors. A summary is what `measure` returns for one use, or the optional `summarise`, a
    vector (k,) whose first number is that of `measure`.
    """

    of: Literal["weight", "preactivation_gradient", "response"]
    measure: Callable[[Tensor], Tensor]
    measure_all: Callable[[Sequence[Tensor]], Tensor] | None = None
    combine: Callable[[Tensor, Sequence[int]], Tensor] | None = None
    summarise: Callable[[Tensor], Tensor] | None = None
