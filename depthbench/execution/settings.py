"""The settings that a person chooses to execute a study. No torch here."""

from dataclasses import dataclass
from pathlib import Path

from depthbench.training.mode import StepMode


@dataclass(frozen=True)
class Execution:
    """How a study is executed. None of these settings affects a run's id.

    A value of None or "auto" leaves the choice to the plan, which knows the machine."""

    results: Path = Path("results")
    """The parent of the results directory. Each study has a directory of its name in it."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    jobs: int | None = None
    """Number of runs at once."""
    step_mode: StepMode = "auto"
    """How a GPU executes an update: auto, eager, captured or compiled."""
    recompute: bool | None = None
    """Whether activations are computed twice instead of being kept. None: where memory requires it."""
    data_dir: Path | None = None
    """Where downloads and decoded images are kept. None: the user's cache directory."""
    fresh: bool = False
    """Whether to discard the study's stored results."""
    backend: str = "local"
    """The entry of BACKENDS that executes the runs."""
