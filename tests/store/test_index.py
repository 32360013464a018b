import json
import os
import shutil
import time

import pytest

from depthbench.errors import BadInput
from depthbench.store.index import INDEX, read_records
from depthbench.store.results import read_runs
from depthbench.store.study_store import StudyStore
from tests.store.conftest import write_run


def age(store, seconds=60.0):
    """Make every run.json look as if it was written some time ago."""
    for run_store in store.run_stores():
        os.utime(run_store.record_file, (time.time() - seconds,) * 2)


@pytest.fixture
def store(tiny, tmp_path):
    """A store with three finished runs and an index."""
    made, study = (
        StudyStore(tmp_path / "tiny"),
        tiny(grid={"network": ["plain"], "depth": [8], "seed": [0, 1, 2]}),
    )
    with made.opened(study, "hash"):
        for run in study.runs():
            write_run(made, run)
    age(made)
    read_records(made)
    return made


def files_read(store, monkeypatch):
    """Return the records, and the names of the runs whose run.json was read."""
    names, run = [], StudyStore.run
    with monkeypatch.context() as patch:
        patch.setattr(StudyStore, "run", lambda self, name: names.append(name) or run(self, name))
        return read_records(store), names


def test_the_index_replaces_the_files(store, monkeypatch):
    indexed, read = files_read(store, monkeypatch)
    assert read == []
    stored = {run_store.path.name: run_store.read().to_dict() for run_store in store.run_stores()}
    assert json.dumps(indexed) == json.dumps(stored)
    rows = read_runs(store.path)
    (store.path / INDEX).unlink()
    assert read_runs(store.path) == rows


@pytest.mark.parametrize("later", [5, 0])  # at another time, or another file of the same time
def test_a_record_that_changed_is_read_again(store, monkeypatch, later):
    first, *_ = store.run_stores()
    time_stamp = first.record_file.stat().st_mtime_ns + later
    first.write(first.read().changed(status="failed"))
    os.utime(first.record_file, ns=(time_stamp, time_stamp))
    records, read = files_read(store, monkeypatch)
    assert read == [first.path.name]
    assert records[first.path.name]["status"] == "failed"
    assert files_read(store, monkeypatch) == (json.loads(json.dumps(records)), [])


def test_runs_that_are_added_and_removed(store, tiny, monkeypatch):
    removed, *kept = store.run_names()
    shutil.rmtree(store.path / "runs" / removed)
    added = write_run(store, next(tiny(grid={"seed": [7]}).runs())).path.name
    records, read = files_read(store, monkeypatch)
    assert list(records) == sorted([*kept, added])
    assert read == [added]


def test_a_record_that_may_still_change_is_not_indexed(store, monkeypatch):
    first, *_ = store.run_stores()
    first.write(first.read())
    for _ in range(2):
        assert files_read(store, monkeypatch)[1] == [first.path.name]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-5],
        lambda text: text.replace('"done"', '"lost"'),
        lambda text: text.partition("\n")[2],
        lambda text: "",
        lambda text: "\0\udcff",
    ],
)
def test_a_damaged_index_is_rebuilt(store, monkeypatch, damage):
    whole = (store.path / INDEX).read_text()
    (store.path / INDEX).write_text(damage(whole), errors="surrogateescape")
    records, read = files_read(store, monkeypatch)
    assert read == store.run_names()
    assert [record["status"] for record in records.values()] == ["done"] * 3
    assert (store.path / INDEX).read_text() == whole


def test_an_index_of_another_version_is_rebuilt(store, monkeypatch):
    monkeypatch.setattr("depthbench.store.index.FORMAT", 2)  # the format that this version writes
    assert files_read(store, monkeypatch)[1] == store.run_names()


def test_results_that_cannot_be_written_are_read(store, monkeypatch):
    def refused(*args):
        raise PermissionError

    age(store, 30)
    monkeypatch.setattr("depthbench.store.index.write_text", refused)
    before = (store.path / INDEX).read_text()
    for _ in range(2):
        assert files_read(store, monkeypatch)[1] == store.run_names()
    assert (store.path / INDEX).read_text() == before


def test_unreadable_records_are_never_indexed(store, capsys):
    first, second, _ = store.run_stores()
    first.record_file.unlink()
    second.record_file.write_text("{}")
    age_of_second = time.time() - 60
    os.utime(second.record_file, (age_of_second,) * 2)
    for _ in range(2):
        assert len(read_runs(store.path)) == 1
        assert capsys.readouterr().err.count("cannot be read; skipping the run") == 2
    second.record_file.write_text('{"format": 0, "status": "done"}')
    with pytest.raises(BadInput, match="results format 0"):
        read_runs(store.path)


def test_a_directory_without_runs_has_no_index(store):
    shutil.rmtree(store.path / "runs")
    (store.path / INDEX).unlink()
    assert read_records(store) == {}
    assert not (store.path / INDEX).exists()
