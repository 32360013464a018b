import dataclasses
import math
import os
import signal

import pytest

from depthbench.events import Note, Progressed, RowLogged, RunEnded, RunStarted, Stopping
from depthbench.execution.backends.slurm_job import EventReader, EventWriter, RunJob
from depthbench.execution.plan import make_plan
from depthbench.execution.settings import Execution
from depthbench.store.record import Record

USR2 = signal.SIGUSR2


@pytest.fixture
def job(tiny, tmp_path):
    """Return a function that makes the job of a run of a tiny study."""

    def make(**study):
        made = tiny(grid={"network": ["plain"]}, **study)
        plan = make_plan(made, Execution(tmp_path, device="cpu", jobs=1))
        with plan.store.opened(plan.study, plan.data_hash):
            pass
        (run,) = plan.todo
        return RunJob(
            study=plan.study,
            run=run,
            execution=plan.execution,
            threads=1,
            data_hash=plan.data_hash,
            events=tmp_path / "events",
        )

    return make


def events_of(job):
    return EventReader(job.events, job.run).read()


def end_of(job):
    *_, end = events_of(job)
    return end.status, end.reason


def test_events_come_back_as_they_were(tiny, tmp_path):
    (run,) = tiny(grid={"network": ["plain"]}).runs()
    writer, reader = EventWriter(tmp_path / "events"), EventReader(tmp_path / "events", run)
    assert reader.read() == []
    record = Record.of(run, final={"test_error": math.nan}).changed(status="failed", reason="“no”")
    row = RowLogged(run, 4, 12, 0, loss=1.5, train_error=50.0, test_error=1.0, images_per_second=9.0)
    written = [RunStarted(run), row, Note("a note", run)]
    progress = [Progressed(run, step, 0, 1.0, 2.0) for step in (5, 6)]
    for event in (*written, Stopping(), *progress):  # the second progress comes too soon
        writer.show(event)
    assert reader.read() == [*written, progress[0]]
    writer.show(RunEnded(run, record))
    with writer.file.open("a") as file:
        file.write('[1]\n{"event": "Stopping"}\n{"event": "RowLogged"}\n' + "[" * 5000 + '\n{"event": "Run')
    (end,) = reader.read()
    assert (end.status, end.reason) == ("failed", "“no”")
    with writer.file.open("a") as file:
        file.write('Started"}\n')
    assert reader.read() == [RunStarted(run)]


def test_other_images_or_another_version_fail_the_run_in_one_line(job):
    made = job()
    dataclasses.replace(made, data_hash="0" * 64)()
    status, reason = end_of(made)
    assert status == "failed"
    assert "but 000000000000 where the job was submitted: use a --data-dir or a folder" in reason
    other = made.run.model_copy(update={"plugin": "f00"})
    dataclasses.replace(made, run=other)()
    assert "changed after the job was submitted" in end_of(made)[1]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "queues"), [(USR2, True), (signal.SIGTERM, False)])
def test_a_signal_saves_the_run_and_near_the_time_limit_queues_the_job_again(
    job, monkeypatch, number, queues
):
    made = job(recipe={"steps": 2000}, evaluate={"every": 2000, "log_every": 1})
    store = made.execution.results / made.study.name / "runs" / made.run.run_id
    show, queued = EventWriter.show, []

    def stop(writer, event):
        show(writer, event)
        if isinstance(event, RowLogged) and event.step == 20:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), USR2)  # a further signal does not kill the run

    def handler(number, frame):
        queued.append((store / "checkpoint.pt").exists())

    before = signal.signal(USR2, handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(EventWriter, "show", stop)
            made()
        assert signal.getsignal(USR2) is handler
    finally:
        signal.signal(USR2, before)
    assert end_of(made) == ("interrupted", None)
    assert queued == [True] * queues
    assert made.checkpoint().function is made


def test_a_run_that_another_job_finished_is_not_trained_again(job, tmp_path, monkeypatch):
    made = job()
    finished = Record.of(made.run).changed(status="done")
    monkeypatch.setattr("depthbench.store.run_store.RunStore.is_finished", lambda store: True)
    monkeypatch.setattr("depthbench.store.run_store.RunStore.read", lambda store: finished)
    made()
    assert events_of(made) == [RunStarted(made.run), RunEnded(made.run, finished)]
