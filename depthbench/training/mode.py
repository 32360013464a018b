"""The settings for the execution of one run. No torch here."""

from dataclasses import dataclass
from typing import Literal, get_args

from depthbench.training.keeping import KEEP_LAST, KeepWeights

StepMode = Literal["auto", "eager", "captured", "compiled"]
STEP_MODES: tuple[StepMode, ...] = get_args(StepMode)


@dataclass(frozen=True)
class TrainingMode:
    """The settings of a run that are not part of its recipe."""

    device: str = "cpu"
    """As torch names it: cpu, cuda:0 or mps."""
    step_mode: StepMode = "auto"
    """How an update is made: eager; captured, as a CUDA graph; compiled, captured with fused kernels; or
    auto, captured on CUDA and eager elsewhere. Several processes that train one run make eager steps."""
    recompute: bool = False
    """Whether activations are computed twice instead of being kept (networks/checkpointing.py)."""
    is_streamed: bool | None = None
    """Whether worker processes read the images ahead. None: only if the images do not fit on the device."""
    keep_checkpoint: bool = False
    """Whether the last state of a finished run is kept."""
    keep_weights: KeepWeights = KEEP_LAST
    """Which weights the run keeps."""
    needs_weights: bool = False
    """Whether a finished run that lacks these weights is trained again to get them."""
    checkpoint_seconds: float = 30.0
    """Seconds between two states that a run in progress saves."""
