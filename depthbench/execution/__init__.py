"""Where runs execute. `prepare` checks everything and writes nothing; `execute` trains what is left."""

from collections.abc import Callable
from pathlib import Path

from depthbench.execution.plan import Plan, prepare
from depthbench.study.model import Study

__all__ = ["Plan", "execute", "prepare", "run_study"]


def execute(plan: Plan, watch=None) -> None:
    """Train and store the runs of `plan` that are not finished, telling `watch` (see progress.py).

    A run that fails is recorded as such and stops no other; a process that is killed fails the runs that take
    turns in it. Raises errors.Interrupted after Ctrl-C or SIGTERM, once every run in progress has kept its
    state."""
    from depthbench.cli.display import Silent
    from depthbench.execution import local
    from depthbench.execution.sharing import settled

    with plan.store.opened(plan.study, plan.data_hash, plan.fresh):
        watch = watch or Silent()
        local.execute(settled(plan, watch), watch)


def run_study(
    study: Study,
    results: str | Path = "results",
    *,
    device: str = "auto",
    jobs: int | None = None,
    recompute: bool | None = None,
    step: str = "auto",
    data_dir: str | Path | None = None,
    fresh: bool = False,
    decoding: Callable[[int, int], None] = lambda done, total: None,
    watch=None,
) -> Path:
    """Train every run of `study` that is not finished, and return the directory that holds the results.

    results: the parent; the study gets a directory of its name in it. device: auto, cpu, cuda, cuda:i or
    mps. jobs: runs at once, each in a process of its own, or in turns on a GPU (chosen for the machine and
    its memory if not given). recompute: compute activations twice rather than keep them (where memory demands
    it if not given). step: auto, eager, captured or compiled (see training/trainer.py). fresh: discard what
    is stored. decoding(done, total) is told how the reading of an image folder goes.

    Raises BadInput before anything is written, and errors.Interrupted after Ctrl-C. Runs that fail or
    diverge raise nothing: see `load_results(...).runs.status`."""
    plan = prepare(
        study,
        results,
        device=device,
        jobs=jobs,
        recompute=recompute,
        step=step,
        data_dir=data_dir,
        fresh=fresh,
        decoding=decoding,
    )
    execute(plan, watch)
    return plan.store.path
