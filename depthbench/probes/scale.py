"""Mean absolute value of the learned scales of residual branches: one number, or one per channel.

In networks that begin as the identity, it says how far a branch has grown (Bachlechner et al. 2021,
arXiv:2003.04887, sec. 6)."""

from torch import Tensor

from depthbench.machine.precision import widest_float
from depthbench.networks.components import Scale
from depthbench.probes.probe import Probe


def mean_size(scale: Tensor) -> Tensor:
    """Return the mean absolute value of a scale of any shape, in float64 (float32 on Apple GPUs)."""
    return scale.detach().abs().sum(dtype=widest_float(scale.device)) / scale.numel()


PROBE = Probe("parameter", mean_size, where=Scale, needs_gradient=False)
