import pytest

from depthbench import run_study
from depthbench.events import (
    Activity,
    Note,
    RowLogged,
    RunEnded,
    RunStarted,
    RunWaiting,
    Stopping,
    StudyStarted,
)
from depthbench.execution.plan import make_plan
from depthbench.execution.settings import Execution
from depthbench.execution.watch_adapter import WatchAdapter
from depthbench.progress import Silent
from depthbench.store.record import Record


class OldWatch:
    """A display written for run_study(watch=...)."""

    def __init__(self):
        self.calls = []

    def begin(self, plan):
        self.calls.append(("begin", plan))

    def note(self, line):
        self.calls.append(("note", line))

    def started(self, run):
        self.calls.append(("started", run))

    def progress(self, run, event):
        self.calls.append(("progress", run, event))

    def ended(self, run, status, reason, record):
        self.calls.append(("ended", run, status, reason, record))

    def stopping(self):
        self.calls.append(("stopping",))

    def tick(self):
        self.calls.append(("tick",))


class Entered(OldWatch):
    def __enter__(self):
        self.calls.append(("enter",))
        return self

    def __exit__(self, *error):
        self.calls.append(("exit", *error))


def test_each_event_is_the_call_that_a_watch_expects(tiny, tmp_path):
    plan, watch = make_plan(tiny(), Execution(tmp_path, device="cpu", jobs=1)), OldWatch()
    run = plan.todo[0]
    row = {
        "step": 4,
        "steps": 12,
        "first_step": 0,
        "loss": 2.5,
        "train_error": 90.0,
        "images_per_second": 40.0,
    }
    row["test_error"] = 50.0
    with WatchAdapter(watch, plan) as display:
        display.show(Note("lanes were measured"))
        display.show(StudyStarted(plan.todo, jobs=4, lanes=2, threads=3))
        display.show(RunStarted(run))
        display.show(Note("resuming", run))
        display.show(Activity(run, "evaluating at step 6"))
        display.show(RowLogged(run, **row))
        display.show(RunWaiting(run))
        display.show(Stopping())
        display.show(RunEnded(run, Record.of(run).changed(status="failed", reason="boom", step=4)))
        display.tick()
    note, begin, *calls, ended, tick = watch.calls
    assert note == ("note", "lanes were measured")
    assert begin[0] == "begin"
    assert calls == [
        ("started", run),
        ("progress", run, {"note": "resuming"}),
        ("progress", run, {"doing": "evaluating at step 6"}),
        ("progress", run, row),
        ("progress", run, {"doing": "waiting to start again"}),
        ("stopping",),
    ]
    assert ended[:4] == ("ended", run, "failed", "boom")
    assert (ended[4]["run_id"], ended[4]["status"], ended[4]["step"]) == (run.run_id, "failed", 4)
    assert tick == ("tick",)


def test_the_plan_of_a_watch_is_settled_and_has_the_older_names(tiny, tmp_path):
    plan, watch = make_plan(tiny(), Execution(tmp_path, device="cpu", jobs=1, fresh=True)), OldWatch()
    WatchAdapter(watch, plan).show(StudyStarted(plan.todo, jobs=4, lanes=2, threads=3))
    ((_, begun),) = watch.calls
    assert (begun.jobs, begun.lanes, begun.threads) == (4, 2, 3)
    for name in ("study", "store", "device", "todo", "finished", "notes", "recompute", "data", "data_hash"):
        assert getattr(begun, name) is getattr(plan, name)
    assert (begun.fresh, begun.step, begun.images, begun.skipped) == (True, "auto", plan.footprint, ())


@pytest.mark.slow
def test_a_watch_can_have_some_methods_only(tiny, tmp_path):
    class Ends:
        def __init__(self):
            self.statuses = []

        def ended(self, run, status, reason, record):
            self.statuses.append(status)

    class Begins(Silent):
        def begin(self, plan):
            self.runs = plan.todo

    ends, begins = Ends(), Begins()
    path = run_study(tiny(grid={"network": ["plain"]}), tmp_path, device="cpu", jobs=1, watch=ends)
    assert ends.statuses == ["done"]
    assert run_study(tiny(grid={"network": ["plain"]}), tmp_path, device="cpu", jobs=1, watch=begins) == path
    assert begins.runs == ()


def test_a_watch_that_is_a_context_manager_is_entered():
    watch = Entered()
    with WatchAdapter(watch, None):
        pass
    assert watch.calls == [("enter",), ("exit", None, None, None)]
