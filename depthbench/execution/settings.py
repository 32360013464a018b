"""The settings for the execution of a study. No torch here."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from depthbench.errors import BadInput
from depthbench.paths import URL, expand, locate
from depthbench.training.keeping import KEEP_LAST, KeepWeights
from depthbench.training.mode import StepMode


@dataclass(frozen=True)
class Execution:
    """Settings for the execution of a study. None of them affects a run's id.

    A value of None or "auto" leaves the choice to the plan, which knows the machine."""

    results: Path | URL = Path("results")
    """The parent of the results directory, or its URL. Each study has a directory of its name in it."""
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
    stall_timeout: float | None = None
    """Minutes without a step or a batch of an evaluation after which a run is stopped as failed. None: ten
    times the longest step of the run so far, and at least 5 minutes."""
    keep_weights: str | None = None
    """The weights that a run keeps: none, last, best or every:N (training/keeping.py). Finished runs that
    lack them are trained again. None: the last ones, without training a run again."""
    fresh: bool = False
    """Whether to discard the study's stored results."""
    shard: tuple[int, int] | None = None
    """(i, N): train only the i-th of N parts of the study. Jobs that train the other parts may use the same
    results directory at the same time."""
    backend: str = "auto"
    """The entry of BACKENDS that executes the runs, or auto (execution/backends)."""
    address: str | None = None
    """The address of the cluster, for a backend that connects to one."""
    slurm: tuple[tuple[str, str], ...] = ()
    """Parameters of the jobs on a Slurm cluster, such as ("partition", "gpu")."""
    cpus_per_run: int | None = None
    """Cores, and threads, of each run on a cluster. None: 1."""
    gpus_per_run: float | None = None
    """GPUs of each run on a cluster. A part of 1 lets runs share a GPU. None: none."""

    def __post_init__(self) -> None:
        """Accept text for the paths. Raises BadInput for a bad path and a number out of range."""
        if self.cpus_per_run is not None and self.cpus_per_run < 1:
            raise BadInput(f"{self.cpus_per_run} cores per run: use a whole number of at least 1")
        if self.gpus_per_run is not None and not self.gpus_per_run >= 0:
            raise BadInput(f"{self.gpus_per_run:g} GPUs per run: use a number of at least 0, such as 0.25")
        if self.stall_timeout is not None and not self.stall_timeout > 0:
            raise BadInput(f"stall timeout of {self.stall_timeout:g} minutes: use a number above 0")
        if self.keep_weights is not None:
            KeepWeights.parse(self.keep_weights)
        self._check_shard()
        object.__setattr__(self, "results", locate(self.results))
        if self.data_dir is not None:
            object.__setattr__(self, "data_dir", expand(self.data_dir))

    def _check_shard(self) -> None:
        if self.shard is None:
            return
        index, count = self.shard
        if not 1 <= index <= count:
            last = max(1, count)
            raise BadInput(
                f"shard {index}/{count}: shards are numbered from 1; use 1/{last} to {last}/{last}"
            )
        if self.fresh:
            raise BadInput(
                f"shard {index}/{count} with fresh: another shard may be training in the same directory; "
                "leave out --fresh, or delete the directory before you start the shards"
            )

    @property
    def kept_weights(self) -> KeepWeights:
        """The weights that a run keeps."""
        return KEEP_LAST if self.keep_weights is None else KeepWeights.parse(self.keep_weights)

    @property
    def needs_weights(self) -> bool:
        """Whether finished runs that lack these weights are trained again."""
        return self.keep_weights not in (None, "none")

    @classmethod
    def of(cls, execution: Self | None, **settings: Any) -> Self:
        """Return `execution`, or these settings as one object if it is None.

        Raises BadInput if `execution` is given and contradicts a setting that is not at its default."""
        chosen = cls(**settings)
        if execution is None:
            return chosen
        contradicting = {
            field.name: getattr(chosen, field.name)
            for field in fields(cls)
            if getattr(chosen, field.name) not in (field.default, getattr(execution, field.name))
        }
        if contradicting:
            given = ", ".join(f"{name} = {value}" for name, value in contradicting.items())
            raise BadInput(f"{given}: `execution` has another value; set it there, or leave `execution` out")
        return execution
