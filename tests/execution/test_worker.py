"""A worker in this process. tests/execution/backends/test_local.py has workers in processes of their own."""

import errno
import signal
import sys
from dataclasses import replace
from multiprocessing import Pipe

import pandas as pd
import pytest
import torch

from depthbench.events import Alive, RunEnded
from depthbench.execution import child, worker
from depthbench.execution.messages import StartRun, Stop, WorkerSetup
from depthbench.execution.worker import Worker
from depthbench.files import write_text
from depthbench.probes import PROBES
from depthbench.store.record import Record
from depthbench.store.run_store import RunIsBusy, RunStore
from depthbench.training.mode import TrainingMode


class Parent:
    """The parent of a worker. Each run that it starts does what its test says instead of training."""

    def __init__(self, folder, runs):
        self.connection, remote = Pipe()
        self.folder, self.runs = folder, runs
        self.scripts = {}
        self.log = []
        self.worker = Worker(remote, WorkerSetup((), 1, "hash"), lambda: "images")

    def start(self, script):
        """Start a run that calls `script(step, should_stop)` before each step, until it returns a status."""
        run = self.runs[len(self.scripts)]
        self.scripts[run.run_id] = script
        self.connection.send(StartRun(run, self.store(run).path, TrainingMode()))
        return run

    def store(self, run):
        return RunStore(self.folder / run.run_id)

    def stop(self):
        self.connection.send(Stop())

    def train(self, run, images, store, mode, *, data_hash, emit, should_stop):
        """Take the place of training.loop.train."""
        assert (images, data_hash, store.path) == ("images", "hash", self.store(run).path)
        step = 0
        while (status := self.scripts[run.run_id](step, should_stop)) is None:
            self.log.append((run.run_id, step))
            step += 1
            yield
        return Record.of(run).changed(status=status)

    def ended(self):
        """Serve, and return the record of each run that ended, in order."""
        self.worker.serve()
        records = []
        while self.connection.poll():
            event = self.connection.recv()
            if not isinstance(event, Alive):  # says that the process has started
                assert isinstance(event, RunEnded)
                records.append(event.record)
        return records


@pytest.fixture
def parent(tiny, tmp_path, monkeypatch):
    parent = Parent(tmp_path, list(tiny(grid={"seed": [0, 1]}).runs()))
    monkeypatch.setattr("depthbench.training.loop.train", parent.train)
    return parent


def steps(count):
    """Return a run of `count` steps that never looks whether it should stop."""
    return lambda step, should_stop: "done" if step == count else None


def until_stopped(step, should_stop):
    return "interrupted" if should_stop() else None


def stops_the_worker(parent):
    """Return a run that ends at once, in a worker that then has no more to do."""

    def script(step, should_stop):
        parent.stop()
        return "done"

    return script


def raising(error, at=0):
    def script(step, should_stop):
        if step == at:
            raise error

    return script


def test_runs_take_turns_step_by_step_and_one_can_join(parent):
    def joined(step, should_stop):
        if step == 1:
            parent.start(steps(1))
        if step == 3:
            parent.stop()
        return "done" if step == 4 else None

    first, second, third = parent.start(joined), parent.start(steps(2)), parent.runs[2]
    records = parent.ended()
    assert [record.run_id for record in records] == [run.run_id for run in (second, third, first)]
    assert {record.status for record in records} == {"done"}
    assert parent.log[:4] == [(first.run_id, 0), (second.run_id, 0), (first.run_id, 1), (second.run_id, 1)]
    assert parent.log[4:] == [(first.run_id, 2), (third.run_id, 0), (first.run_id, 3)]


def test_a_run_that_another_process_writes_is_left_alone(parent, monkeypatch):
    monkeypatch.setattr(worker, "LOCK_SECONDS", 0.1)
    busy, free = parent.start(steps(1)), parent.start(stops_the_worker(parent))
    store = parent.store(busy)
    with store.locked():
        failed, done = parent.ended()
    assert (failed.run_id, failed.status) == (busy.run_id, "failed")
    assert failed.reason == f"{store.path}: another process is writing to it; rerun when it has ended"
    assert store.read() is None
    assert (done.run_id, done.status) == (free.run_id, "done")


def test_a_finished_run_that_cannot_be_pushed_fails_and_stays_finished(parent, monkeypatch):
    def fail(store):
        raise OSError("s3://bucket/x cannot be written (ConnectionError: no route)")

    def script(step, should_stop):
        store = parent.store(run)
        monkeypatch.setattr(RunStore, "push", fail)
        store.write_rows([{"step": 1}], pd.DataFrame({"step": [0]}))
        store.write(Record.of(run).changed(status="done", tables=store.written))

    run = parent.start(script)
    (record,) = parent.ended()
    assert record.status == "failed"
    assert record.reason == "OSError: s3://bucket/x cannot be written (ConnectionError: no route)"
    assert parent.store(run).is_finished()  # the next command pushes it


def test_a_run_that_another_process_has_finished_is_not_trained_again(parent, monkeypatch):
    monkeypatch.setattr(RunStore, "is_finished", lambda store: store.read() is not None)
    finished, other = parent.start(raising(AssertionError)), parent.start(stops_the_worker(parent))
    record = Record.of(finished, step=7).changed(status="done")
    parent.store(finished).write(record)
    assert parent.ended() == [record, Record.of(other).changed(status="done")]


def test_a_run_is_locked_until_it_has_ended(parent):
    def script(step, should_stop):
        with pytest.raises(RunIsBusy):
            parent.store(run).locked().__enter__()
        parent.stop()
        return "done"

    run = parent.start(script)
    parent.ended()
    with parent.store(run).locked():
        pass


@pytest.mark.parametrize("ending", ["stop", "die"])
def test_runs_stop_if_the_parent_says_so_or_dies_and_none_begins_after_that(parent, ending):
    def ends(step, should_stop):
        if step == 2:
            parent.stop() if ending == "stop" else parent.connection.close()
        return until_stopped(step, should_stop)

    parent.start(ends)
    parent.start(until_stopped)
    parent.worker.serve()
    assert len(parent.log) == 4
    assert parent.worker.turns == []


def test_a_run_that_waits_when_the_parent_stops_does_not_begin(parent):
    parent.start(until_stopped)
    parent.stop()
    assert (parent.ended(), parent.log) == ([], [])


@pytest.mark.parametrize(
    ("error", "reason"),
    [(RuntimeError("wrong\nshape"), "RuntimeError: wrong shape"), (SystemExit(0), "SystemExit: 0")],
)
def test_a_failure_is_stored_and_interrupts_the_other_runs(parent, error, reason):
    first, second = parent.start(until_stopped), parent.start(raising(error, at=1))
    failed, interrupted = parent.ended()  # it ends by itself, and the parent starts a new process
    assert (failed.run_id, failed.status, failed.reason) == (second.run_id, "failed", reason)
    assert (interrupted.run_id, interrupted.status) == (first.run_id, "interrupted")
    store = parent.store(second)
    assert store.read() == failed
    trace = (store.path / "error.txt").read_text()
    assert trace.startswith("Traceback")
    assert "in script\n" in trace


def test_errors_after_the_first_are_attributed_to_it(parent):
    parent.start(raising(MemoryError(), at=1))
    second = parent.start(raising(RuntimeError(), at=1))
    parent.store(second).write(Record.of(second, step=7, reason="of an earlier attempt"))
    _, interrupted = parent.ended()
    assert (interrupted.status, interrupted.reason, interrupted.step) == ("interrupted", None, 7)
    assert not (parent.store(second).path / "error.txt").exists()


def test_a_failure_is_reported_even_if_it_cannot_be_stored(parent, monkeypatch):
    def refuse(store, record):
        raise OSError("No space left on device")

    monkeypatch.setattr(RunStore, "write", refuse)
    parent.start(raising(OSError("No space left on device")))
    (failed,) = parent.ended()
    assert (failed.status, failed.reason) == ("failed", "OSError: No space left on device")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.ENOSPC, "No space left on device", "/elsewhere/x"),
    ],
)
def test_a_full_disk_is_named(parent, error):
    run = parent.start(raising(error))
    (failed,) = parent.ended()
    place = getattr(error, "filename", None) or parent.store(run).path
    assert failed.reason == f"no space left for {place}"


def test_plug_ins_that_cannot_be_loaded_fail_the_run(parent, tmp_path):
    parent.worker.setup = replace(parent.worker.setup, plugins=(str(tmp_path / "gone.py"),))
    parent.start(until_stopped)
    (failed,) = parent.ended()
    assert failed.status == "failed"
    assert "gone.py: no such file" in failed.reason


def test_a_plug_in_that_was_edited_after_the_plan_fails_the_run(parent, monkeypatch):
    monkeypatch.setitem(PROBES, "weight_norm", replace(PROBES["weight_norm"], source="abc", origin="p.py"))
    parent.start(steps(1))
    (record,) = parent.ended()
    assert record.status == "failed"
    assert "p.py (probe weight_norm) was edited after the study was planned: rerun" in record.reason


def test_a_run_that_ends_well_removes_the_error_of_an_earlier_attempt(parent):
    run = parent.start(stops_the_worker(parent))
    file = parent.store(run).path / "error.txt"
    write_text(file, "Traceback")
    assert [record.run_id for record in parent.ended()] == [run.run_id]
    assert not file.exists()


def test_every_run_begins_with_the_threads_of_the_plan(parent, monkeypatch):
    """A resumed run has the threads that it had before, which must not be those of the next run."""
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)

    def resumed(step, should_stop):
        threads.append(2)
        parent.start(stops_the_worker(parent))
        return "done"

    parent.start(resumed)
    parent.ended()
    assert threads == [1, 2, 1]


def test_a_process_without_a_parent_ends_quietly_and_leaves_sigterm_to_it(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    connection, remote = Pipe()
    connection.close()
    monkeypatch.setattr(child, "end_with_parent", lambda grace, parent: None)
    monkeypatch.setattr(child, "Connection", lambda descriptor: remote)
    monkeypatch.setattr(sys, "argv", ["child", "depthbench.execution.worker", "0", "0"])
    try:
        child.main()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_run_with_an_unreadable_file_fails_with_its_name_and_is_kept(parent, monkeypatch):
    locked, free = parent.start(steps(1)), parent.runs[1]
    store = parent.store(locked)
    store.write(Record.of(locked).changed(status="done"))
    before = store.record_file.read_bytes()
    monkeypatch.setattr("os.access", lambda file, mode: file != store.record_file)
    assert store.unreadable_file() == store.record_file
    (failed,) = parent.ended()
    advice = "Permission denied; change its permissions, or use another folder"
    assert (failed.status, failed.reason) == ("failed", f"{store.record_file}: {advice}")
    assert store.record_file.read_bytes() == before
    assert not (store.path / "error.txt").exists()
    assert parent.store(free).unreadable_file() is None


def test_a_run_in_a_folder_that_cannot_be_entered_fails_with_its_name(parent, monkeypatch):
    run = parent.start(steps(1))
    file = str(parent.store(run).path / ".lock")

    def refuse(store, timeout):
        raise PermissionError(errno.EACCES, "Permission denied", file)

    monkeypatch.setattr(RunStore, "locked", refuse)
    (failed,) = parent.ended()
    assert failed.reason == f"{file}: Permission denied; change its permissions, or use another folder"
