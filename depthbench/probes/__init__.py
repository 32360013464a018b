"""PROBES: every per-layer measurement, at a glance. A probe's name is its column in layers.parquet."""

from depthbench.registry import Entry

PROBES: dict[str, Entry] = {
    "grad_norm_weight": Entry(
        "depthbench.probes.gradient_norm:WEIGHT", "L2 norm of dL/dW, before clipping and unscaled"
    ),
    "grad_norm_preact": Entry(
        "depthbench.probes.gradient_norm:PREACTIVATION",
        "L2 norm of dL/dz over the whole batch, where z is the layer's output before normalisation",
    ),
    "weight_norm": Entry("depthbench.probes.weight_norm:PROBE", "L2 norm of W"),
    "response_std": Entry(
        "depthbench.probes.response_std:PROBE",
        "standard deviation of the response, after normalisation, before the nonlinearity "
        "(He et al. 2015, Figure 7)",
    ),
}
