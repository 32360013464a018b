"""L2 norm of the weights.

With batch norm it sets the effective learning rate, lr / |W|^2 (van Laarhoven 2017, arXiv:1706.05350)."""

from depthbench.probes.gradient_norm import l2, l2_of_each
from depthbench.probes.probe import Probe

PROBE = Probe(
    "weight",
    lambda weight: l2(weight.detach()),
    lambda weights: l2_of_each([w.detach() for w in weights]),
    needs_gradient=False,
)
