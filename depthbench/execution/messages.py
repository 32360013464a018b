"""What a parent sends to a process that trains. The process answers with events (depthbench/events.py)."""

from dataclasses import dataclass
from pathlib import Path

from depthbench.study.model import Run
from depthbench.training.mode import TrainingMode


@dataclass(frozen=True)
class WorkerSetup:
    """What all runs of a process share. It is the first message."""

    plugins: tuple[str, ...]
    """Python files to load."""
    threads: int
    images: Path
    """A file with the pickled Images."""
    data_hash: str


@dataclass(frozen=True)
class StartRun:
    """Train a run and store it in a directory. The runs of one process take turns."""

    run: Run
    directory: Path
    mode: TrainingMode


@dataclass(frozen=True)
class Stop:
    """Save the state of every run, and end."""
