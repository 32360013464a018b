"""SCHEDULES: every rule for the learning rate after the warm-up, at a glance."""

from depthbench.registry import Entry

SCHEDULES: dict[str, Entry] = {
    "step": Entry("depthbench.training.schedules.fixed:Step", "multiplied by gamma at each milestone"),
    "cosine": Entry("depthbench.training.schedules.fixed:Cosine", "half a cosine, down to zero"),
    "constant": Entry("depthbench.training.schedules.fixed:Constant", "constant"),
    "plateau": Entry(
        "depthbench.training.schedules.plateau:Plateau",
        "multiplied by gamma when the error stops falling (He et al. 2015, sec. 3.4)",
    ),
}
