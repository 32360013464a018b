"""What a person chooses about executing a study. No torch here."""

from dataclasses import dataclass
from pathlib import Path

from depthbench.training.mode import StepMode


@dataclass(frozen=True)
class Execution:
    """How a study is executed. Nothing here is part of the recipe, so it is not part of a run's id.

    A value of None or "auto" leaves the choice to the plan, which knows the machine."""

    results: Path = Path("results")
    """The parent of the results directory. The study gets a directory of its name in it."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    jobs: int | None = None
    """Number of runs at once."""
    step_mode: StepMode = "auto"
    """How an update is made on a GPU."""
    recompute: bool | None = None
    """Whether activations are computed twice instead of being kept. None: where memory requires it."""
    data_dir: Path | None = None
    """Where downloads and decoded images are kept. None: the user's cache directory."""
    fresh: bool = False
    """Whether to discard what is stored of the study."""
    backend: str = "local"
    """The entry of BACKENDS that executes the runs."""
