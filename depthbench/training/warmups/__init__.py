"""WARMUPS: every rule for the learning rate of the first steps, at a glance."""

from depthbench.registry import Entry

WARMUPS: dict[str, Entry] = {
    "none": Entry("depthbench.training.warmups.warmup:Warmup", "no warm-up"),
    "linear": Entry("depthbench.training.warmups.linear:Linear", "up from 0 in warmup_steps"),
    "hold": Entry(
        "depthbench.training.warmups.hold:Hold",
        "at hold_lr until the train error falls (He et al. 2015, sec. 4.2)",
    ),
}
