import errno
import shutil
from pathlib import Path

from depthbench.execution.ends import ERRORS, store_end, store_failure
from depthbench.store.run_store import RunStore


def test_a_run_that_was_finished_just_before_its_process_died_stays_finished(tiny, tmp_path, trained):
    (run,) = tiny(grid={"network": ["plain"]}).runs()
    record, whole = trained(run)
    store = RunStore(tmp_path / run.run_id)
    shutil.copytree(whole.path, store.path)
    assert store_end(store, run, "failed", "its process was killed").record == record
    assert store.is_finished()


def test_the_end_of_an_unfinished_run_is_stored_with_its_reason(tiny, tmp_path):
    (run,) = tiny(grid={"network": ["plain"]}).runs()
    store = RunStore(tmp_path / run.run_id)
    event = store_end(store, run, "failed", "its process was killed")
    assert (event.status, event.reason) == ("failed", "its process was killed")
    assert store.read() == event.record


def test_an_end_that_cannot_be_stored_is_reported(tiny, tmp_path):
    (run,) = tiny(grid={"network": ["plain"]}).runs()
    (tmp_path / "file").touch()
    event = store_end(RunStore(tmp_path / "file" / run.run_id), run, "failed", "its process was killed")
    assert (event.status, event.reason) == ("failed", "its process was killed")


def test_a_traceback_that_does_not_fit_on_the_disk_leaves_no_file(tiny, tmp_path, monkeypatch):
    (run,) = tiny(grid={"network": ["plain"]}).runs()
    store = RunStore(tmp_path / run.run_id)
    store.path.mkdir()
    record = store_end(store, run, "interrupted").record

    def fill(file, text, encoding):
        file.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", fill)
        store_failure(store, record, RuntimeError("wrong shape"))
    assert not (store.path / ERRORS).exists()
