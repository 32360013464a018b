"""What a probe is: a number that one layer gives at one moment of a step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor


@dataclass(frozen=True)
class Probe:
    """`measure` turns a tensor of one layer into a number (a tensor of no dimensions, on its device).

    `of` says which tensor, B the batch size:
    - "weight": the weight parameter, after the backward pass (its `.grad` is there)
    - "preactivation_gradient": dL/dz, z (B, ...) the output of the convolution or linear map
    - "response": the output (B, ...) of the layer's norm, or z where it has none, as the forward pass saw it

    `measure_all`, where it is given, does the same for the tensors of all layers at once: (layers,). A GPU is
    given all of them at the end of the step, since starting a kernel for each layer costs more than the
    kernel; a CPU is given each while it is in its caches.
    """

    of: Literal["weight", "preactivation_gradient", "response"]
    measure: Callable[[Tensor], Tensor]
    measure_all: Callable[[Sequence[Tensor]], Tensor] | None = None
