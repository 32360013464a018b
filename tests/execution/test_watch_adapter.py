from types import SimpleNamespace

from depthbench.events import Activity, Note, RowLogged, RunEnded, RunStarted, Stopping, StudyStarted
from depthbench.execution.watch_adapter import WatchAdapter
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


def test_each_event_is_the_call_that_a_watch_expects(tiny):
    run = next(tiny().runs())
    plan, watch = SimpleNamespace(todo=(run,)), OldWatch()
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
        display.show(StudyStarted((run,), jobs=1, lanes=1, threads=1))
        display.show(RunStarted(run))
        display.show(Note("resuming", run))
        display.show(Activity(run, "evaluating at step 6"))
        display.show(RowLogged(run, **row))
        display.show(Stopping())
        display.show(RunEnded(run, Record.of(run).changed(status="failed", reason="boom", step=4)))
        display.tick()
    *calls, ended, tick = watch.calls
    assert calls == [
        ("note", "lanes were measured"),
        ("begin", plan),
        ("started", run),
        ("progress", run, {"note": "resuming"}),
        ("progress", run, {"doing": "evaluating at step 6"}),
        ("progress", run, row),
        ("stopping",),
    ]
    assert ended[:4] == ("ended", run, "failed", "boom")
    assert (ended[4]["run_id"], ended[4]["status"], ended[4]["step"]) == (run.run_id, "failed", 4)
    assert tick == ("tick",)


def test_a_watch_that_is_a_context_manager_is_entered():
    watch = Entered()
    with WatchAdapter(watch, None):
        pass
    assert watch.calls == [("enter",), ("exit", None, None, None)]
