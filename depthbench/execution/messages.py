"""Messages between a parent and its processes.

The parent sends a WorkerSetup, the images (data/shared.py), StartRun and Stop to a process that trains, which
answers with events (depthbench/events.py). It sends a TrialSetup and Trials to a process that measures
(cost/trial.py)."""

from dataclasses import dataclass
from pathlib import Path

from depthbench.execution.cost.images import ImageFootprint
from depthbench.paths import URL
from depthbench.study.model import Run
from depthbench.training.mode import TrainingMode


@dataclass(frozen=True)
class WorkerSetup:
    """The first message: settings that all runs of a process share."""

    plugins: tuple[str, ...]
    """Python files to load."""
    threads: int
    data_hash: str


@dataclass(frozen=True)
class StartRun:
    """Train a run and store it in a directory, or at a URL. The runs of one process take turns."""

    run: Run
    directory: Path | URL
    """`RunStore.location`."""
    mode: TrainingMode


@dataclass(frozen=True)
class Stop:
    """Save the state of every run, and end."""


@dataclass(frozen=True)
class TrialSetup:
    """The settings that all runs of a trial process share."""

    plugins: list[str]
    threads: int
    images: ImageFootprint
    lanes: int


@dataclass(frozen=True)
class Ready:
    """The process has imported all that a run needs."""


@dataclass(frozen=True)
class Trial:
    """Measure a run."""

    run: Run
    mode: TrainingMode


@dataclass(frozen=True)
class Failed:
    """The run of a trial raised an error."""

    reason: str
