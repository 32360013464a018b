"""Displays for `run_study(watch=...)`, with a method for each kind of event (depthbench/progress.py)."""

import dataclasses
import json
from types import TracebackType
from typing import Any, Self

from depthbench.events import (
    Activity,
    Event,
    Note,
    RowLogged,
    RunEnded,
    RunStarted,
    RunWaiting,
    Stopping,
    StudyStarted,
)
from depthbench.execution.cost.images import ImageFootprint
from depthbench.execution.plan import Plan
from depthbench.training.mode import StepMode

ROW = ("step", "loss", "train_error", "test_error", "steps", "first_step", "images_per_second")


class PlanOfWatch(Plan):
    """A plan that also has the older names of attributes, which a watch may read."""

    @classmethod
    def of(cls, plan: Plan, started: StudyStarted) -> Self:
        """Return `plan` with the numbers of jobs, lanes and threads that were chosen at the start."""
        values = {field.name: getattr(plan, field.name) for field in dataclasses.fields(plan)}
        return cls(**values | {"jobs": started.jobs, "lanes": started.lanes, "threads": started.threads})

    @property
    def fresh(self) -> bool:
        return self.execution.fresh

    @property
    def step(self) -> StepMode:
        return self.execution.step_mode

    @property
    def images(self) -> ImageFootprint:
        return self.footprint

    @property
    def skipped(self) -> tuple[str, ...]:
        return self.data.skipped


class WatchAdapter:
    """A display that turns events into calls of those methods that a watch has."""

    def __init__(self, watch: object, plan: Plan):
        self.watch, self.plan = watch, plan

    def __enter__(self) -> Self:
        self._call("__enter__")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._call("__exit__", kind, error, trace)

    def show(self, event: Event) -> None:
        match event:
            case StudyStarted():
                self._call("begin", PlanOfWatch.of(self.plan, event))
            case RunStarted(run):
                self._call("started", run)
            case RowLogged(run):
                self._call("progress", run, {key: getattr(event, key) for key in ROW})
            case RunWaiting(run):
                self._call("progress", run, {"doing": "waiting to start again"})
            case Activity(run, text):
                self._call("progress", run, {"doing": text})
            case Note(text, None):
                self._call("note", text)
            case Note(text, run):
                self._call("progress", run, {"note": text})
            case RunEnded(run, record):
                self._call("ended", run, event.status, event.reason, json.loads(record.to_json()))
            case Stopping():
                self._call("stopping")

    def tick(self) -> None:
        self._call("tick")

    def _call(self, method: str, *values: Any) -> None:
        if hasattr(self.watch, method):
            getattr(self.watch, method)(*values)
