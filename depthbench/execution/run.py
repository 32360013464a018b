"""Execute a study: `execute` trains the runs of a plan, `run_study` plans and executes."""

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from depthbench.errors import BadInput, RunsFailed
from depthbench.events import Display, Event, Forwarding, Note, RunEnded, Silent, StudyStarted
from depthbench.execution.plan import Decoding, Plan, make_plan
from depthbench.execution.settings import Execution
from depthbench.execution.watch_adapter import WatchAdapter
from depthbench.registry import Entry
from depthbench.store.mirror import shown
from depthbench.store.record import Record
from depthbench.store.run_store import RunIsBusy
from depthbench.store.study_store import StudyStore
from depthbench.study.model import Run, Study
from depthbench.training.mode import StepMode

ORPHAN_SECONDS = 5.0
"""Seconds to wait for runs that another process of this machine holds, before any run begins."""
MOST_NAMES = 5  # of runs and of reasons in a message
NOTEBOOK_COLUMNS = 120


def execute(plan: Plan, display: Display | None = None) -> dict[str, Record]:
    """Train and store the unfinished runs of `plan`, and show the progress on `display`.

    Returns the record of each run that ended, by run id, even if it could not be stored.

    A run that fails is recorded as failed and stops no other. A process that dies fails the runs that take
    turns in it. Raises errors.Interrupted after Ctrl-C or SIGTERM, once every run in progress has saved its
    state."""
    display = observer = _Observer(display or Silent(), plan.store)
    backend = plan.backend
    if backend.is_ours and str(plan.store.location).startswith("memory:"):
        raise BadInput(f"{plan.store.location}: other processes cannot write there; use another --results")
    shared = plan.execution.shard is not None
    opened = plan.store.opened(plan.study, plan.data_hash, plan.execution.fresh, shared=shared)
    with backend.connected(plan), opened, display:
        _remove_checkpoints(plan)
        plan, busy = _busy_last(plan)
        if backend.prepare is not None:
            plan = Entry(backend.prepare)(plan, display)
        display.show(StudyStarted(plan.todo, jobs=plan.jobs, lanes=plan.lanes, threads=plan.threads))
        for file in plan.store.misplaced_files():
            if file.name in {run.run_id for run in plan.todo}:
                text = f"{shown(file)} is a file in the place of a run's directory; it is moved aside"
                display.show(Note(text))
        if busy:
            display.show(Note(_busy_line(busy)))
        backend(plan, display)
        try:
            plan.store.fetch()  # what other machines have stored
        except OSError as error:
            display.show(Note(str(error)))
    return observer.ended


def _remove_checkpoints(plan: Plan) -> None:
    """Delete the checkpoints of finished runs that were killed before they did so themselves."""
    for run in plan.finished:
        store = plan.store.run(run.run_id)
        if os.path.exists(store.checkpoint):
            with contextlib.suppress(OSError, RunIsBusy):
                store.remove_left_checkpoint()


def _busy_last(plan: Plan) -> tuple[Plan, tuple[Run, ...]]:
    """Move the runs that other processes are training to the end of the plan. Return the plan and these runs.

    They may have finished when the plan reaches them. A process whose parent was killed may still be saving
    such a run, so they get a few seconds to become free."""
    free: list[Run] = []
    busy: list[Run] = []
    names = plan.store.busy_runs([run.run_id for run in plan.todo])
    held = waiting = {name for name in names if plan.store.run(name).is_locked_here()}
    deadline = time.monotonic() + ORPHAN_SECONDS
    while waiting and time.monotonic() < deadline:
        time.sleep(ORPHAN_SECONDS / 20)
        waiting = {name for name in waiting if plan.store.run(name).is_locked_here()}
    names -= held - waiting
    for run in plan.todo:
        (busy if run.run_id in names else free).append(run)
    return dataclasses.replace(plan, todo=(*free, *busy)), tuple(busy)


def _busy_line(busy: Sequence[Run]) -> str:
    names = _first([run.run_id for run in busy])
    return f"another process is training {len(busy)} of these runs: {names}"


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + ", ..." * (len(names) > MOST_NAMES)


class _Observer(Forwarding):
    """A display that keeps the record of each run that ended, and checks the results directory then."""

    def __init__(self, display: Display, store: StudyStore):
        super().__init__(display)
        self.store = store
        self.ended: dict[str, Record] = {}

    def show(self, event: Event) -> None:
        if isinstance(event, RunEnded):
            self.ended[event.run.run_id] = event.record
            with contextlib.suppress(OSError):  # reported for the runs
                if self.store.restore():
                    message = f"{self.store.location} was deleted and has been created again"
                    self.display.show(Note(message, event.run))
        self.display.show(event)


def run_study(
    study: Study,
    results: str | Path = "results",
    *,
    device: str = "auto",
    jobs: int | None = None,
    recompute: bool | None = None,
    step: StepMode = "auto",
    data_dir: str | Path | None = None,
    keep_weights: str | None = None,
    fresh: bool = False,
    decoding: Decoding = lambda done, total: None,
    watch: object | None = None,
    display: Display | None = None,
    execution: Execution | None = None,
    raises: bool = True,
) -> Path:
    """Train every unfinished run of `study`, and return its results directory.

    results: the parent directory or its URL, in which the study has a directory of its name. For a URL,
    the returned path is a mirror on this machine. device: auto, cpu, cuda, cuda:N or mps. jobs: number of
    runs at once, each in its own process or taking turns on a GPU; chosen for the machine and its memory
    if not given. recompute: compute activations twice instead of keeping them; if not given, where memory
    requires it. step: auto, eager, captured or compiled (training/mode.py). data_dir: where downloads and
    decoded images are kept. keep_weights: the weights that each run keeps, none, last, best or every:N
    (training/keeping.py); finished runs that lack them are trained again. fresh: discard the study's
    stored results. decoding: called with (done, total) while an image folder is read. display: shows the
    progress (depthbench/events.py); lines of text by default in a notebook, and nothing elsewhere. watch:
    the older form of a display, with methods for some kinds of events (depthbench/progress.py).
    execution: all settings as one object, instead of single ones. raises: whether runs that fail raise
    RunsFailed at the end.

    Raises BadInput before anything is written, also for arguments that contradict each other and for
    networks that other processes cannot import, such as classes of a notebook. Raises errors.Interrupted
    after Ctrl-C, and errors.RunsFailed with the reason of each run that failed, once all others are stored.
    A run that diverges raises nothing: see `load_results(path).runs.status`."""
    if watch is not None and display is not None:
        raise BadInput("run_study: give `display` or `watch`, not both")
    chosen = Execution.of(
        execution,
        results=results,
        device=device,
        jobs=jobs,
        recompute=recompute,
        step_mode=step,
        data_dir=data_dir,
        keep_weights=keep_weights,
        fresh=fresh,
    )
    plan = make_plan(study, chosen, decoding=decoding)
    if watch is not None:
        display = WatchAdapter(watch, plan)
    elif display is None and is_notebook():
        from rich.console import Console  # other programs need neither

        from depthbench.cli.display import Lines

        display = Lines(Console(force_jupyter=False, width=NOTEBOOK_COLUMNS))
    ended = execute(plan, display)
    if raises:
        _raise_failures(plan, ended)
    return plan.store.path


def _raise_failures(plan: Plan, ended: Mapping[str, Record]) -> None:
    """Raise RunsFailed if a run failed."""
    reasons = {
        run_id: record.reason or "the reason is not known"
        for run_id, record in ended.items()
        if record.status == "failed"
    }
    if not reasons:
        return
    by_reason: dict[str, list[str]] = {}
    for run_id, reason in reasons.items():
        by_reason.setdefault(reason, []).append(run_id)
    shown = [f"{_first(names)} ({reason})" for reason, names in by_reason.items()]
    more = f"; and {len(shown) - MOST_NAMES} more reasons" if len(shown) > MOST_NAMES else ""
    total = len(plan.todo) + len(plan.finished)
    raise RunsFailed(
        f"{len(reasons)} of {total} run{'s'[: total > 1]} failed: {'; '.join(shown[:MOST_NAMES])}{more}; the "
        f"results of the others are in {plan.store.location}, and run_study(..., raises=False) returns them",
        reasons,
    )


def is_notebook() -> bool:
    """Return whether this process executes the cells of a notebook."""
    find_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return getattr(find_shell() if find_shell else None, "kernel", None) is not None
