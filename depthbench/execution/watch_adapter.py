"""Displays written for `run_study(watch=...)`, which have a method for each kind of event."""

import json
from types import TracebackType
from typing import Any, Protocol, Self

from depthbench.events import (
    Activity,
    Event,
    Note,
    RowLogged,
    RunEnded,
    RunStarted,
    Stopping,
    StudyStarted,
)
from depthbench.execution.plan import Plan
from depthbench.study.model import Run


class Watch(Protocol):
    """An object that `run_study(watch=...)` takes. It can be a context manager too."""

    def begin(self, plan: Plan) -> None: ...
    def note(self, line: str) -> None: ...
    def started(self, run: Run) -> None: ...
    def progress(self, run: Run, event: dict[str, Any]) -> None: ...
    def ended(self, run: Run, status: str, reason: str | None, record: dict[str, Any]) -> None: ...
    def stopping(self) -> None: ...
    def tick(self) -> None: ...


class WatchAdapter:
    """A display that turns events into calls of a Watch."""

    def __init__(self, watch: Watch, plan: Plan):
        self.watch, self.plan = watch, plan

    def __enter__(self) -> Self:
        if hasattr(self.watch, "__enter__"):
            self.watch.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if hasattr(self.watch, "__exit__"):
            self.watch.__exit__(kind, error, trace)

    def show(self, event: Event) -> None:
        match event:
            case StudyStarted():
                self.watch.begin(self.plan)
            case RunStarted(run):
                self.watch.started(run)
            case RowLogged(run):
                keys = (
                    "step",
                    "loss",
                    "train_error",
                    "test_error",
                    "steps",
                    "first_step",
                    "images_per_second",
                )
                self.watch.progress(run, {key: getattr(event, key) for key in keys})
            case Activity(run, text):
                self.watch.progress(run, {"doing": text})
            case Note(text, run):
                if run is None:
                    self.watch.note(text)
                else:
                    self.watch.progress(run, {"note": text})
            case RunEnded(run, record):
                self.watch.ended(run, event.status, event.reason, json.loads(record.to_json()))
            case Stopping():
                self.watch.stopping()

    def tick(self) -> None:
        self.watch.tick()
