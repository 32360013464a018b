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
    "update_ratio": Entry(
        "depthbench.probes.update_ratio:PROBE",
        "L2 norm of the change of W by the update, relative to the L2 norm of W before it",
    ),
    "grad_cosine": Entry(
        "depthbench.probes.grad_cosine:PROBE",
        "cosine between dL/dW of this batch and of the batch before it, both before clipping",
    ),
    "gate_mean": Entry(
        "depthbench.probes.gate_mean:PROBE",
        "mean output of each gate, of highway layers, squeeze and excitation, or gated shortcuts",
    ),
    "scale": Entry(
        "depthbench.probes.scale:PROBE", "mean absolute value of each learned scale of a residual branch"
    ),
    "branch_share": Entry(
        "depthbench.probes.branch_share:PROBE",
        "standard deviation of what a branch (attention or MLP) adds, relative to that of what its shortcut "
        "carries",
    ),
    "attention_entropy": Entry(
        "depthbench.probes.attention_entropy:PROBE",
        "entropy of attention in nats, mean over heads, queries and images. Its maximum is log T, where all "
        "T tokens get the same attention",
    ),
}

DEFAULT = ("grad_norm_weight", "grad_norm_preact", "weight_norm", "response_std")
"""The probes that a study measures unless it names others."""
