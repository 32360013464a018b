"""A damaged record or table affects one run, and never makes a run finished that is not."""

import contextlib
import io
import json
import os
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from depthbench.cli.app import app
from depthbench.errors import BadInput
from depthbench.store.record import FINISHED, REQUIRED_TABLES
from depthbench.store.results import load_predictions, load_results, read_runs
from depthbench.store.study_store import INDEX, StudyStore
from tests.fuzz.values import as_toml, damaged, examples, json_values, mutations, toml_values
from tests.report.conftest import store_study, study_of

STUDY = study_of(networks=("plain", "resnet"), depths=(8,), seeds=(0,))
SECONDS_AGO = 100


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Results of two runs, and for the first one the files as they were written."""
    store = StudyStore(store_study(tmp_path_factory.mktemp("records") / "made-up", STUDY))
    first, _ = store.run_stores()
    for run in STUDY.runs():  # made-up results do not record their tables
        each = store.run(run.run_id)
        record = each.read()
        each.write_rows(each.frame("history").to_dict("records"), each.frame("layers"))
        each.write(record.changed(tables=each.written, classes=tuple("0123456789")))
    return store, first, {file.name: file.read_bytes() for file in first.path.glob("*.*")}


def valid(store_and_files):
    return json.loads(store_and_files[2]["run.json"])


def is_one_line(error):
    assert len(str(error).splitlines()) == 1


def read_everything(store):
    """Read results as the commands do. Return the rows of their runs, or None if they were refused."""
    try:
        with contextlib.redirect_stderr(io.StringIO()) as complaints:
            rows = read_runs(store.path)
            results = load_results(store.path)
            load_predictions(store.path)
            store.records()
        shown = CliRunner().invoke(app, ["show", str(store.path)], catch_exceptions=False)
    except BadInput as error:
        is_one_line(error)
        return None
    assert shown.exit_code == 0
    assert len(results.runs) == len(rows)
    return rows, results, complaints.getvalue() + shown.stdout


def is_as_recorded(first, name):
    """Return whether a table can be read and is the one that the record describes."""
    try:
        first.table(name, first.read().tables.get(name))
    except (OSError, ValueError):
        return False
    return True


def check(store, first):
    """Check that what can be read of damaged results is true."""
    is_finished = False
    with contextlib.suppress(BadInput):
        is_finished = first.is_finished()
    read = read_everything(store)
    if is_finished:
        assert first.read().status in FINISHED
        for name in REQUIRED_TABLES:
            assert len(first.table(name)) > 0 or name != "history"
    if read is None:
        return
    rows, results, complaints = read
    other = next(run for run in STUDY.runs() if run.run_id != first.path.name)
    assert [row["status"] for row in rows if row["run_id"] == other.run_id] == ["done"]
    assert other.run_id in set(results.history["run_id"])
    is_done = any(row["run_id"] == first.path.name and row["status"] in FINISHED for row in rows)
    for name in REQUIRED_TABLES:
        if is_done and not is_as_recorded(first, name):
            assert f"{first.path.name}: {name}.parquet" in complaints
            is_missing = not (first.path / f"{name}.parquet").exists()
            assert is_missing == (f"{first.path.name}/{name}.parquet" in complaints)


def put(first, files, name, content):
    """Restore the files of the first run, replace one, or delete it, and make it look settled."""
    for each, text in files.items():
        (first.path / each).write_bytes(text)
    file = first.path / name
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
        put.count += 1
        os.utime(file, ns=(put.count, put.count))  # old enough for the index, and new to it


put.count = 10**9


@examples(short=15)
@given(data=st.data())
def test_any_json_as_a_record(store, data):
    folder, first, files = store
    (folder.path / INDEX).unlink(missing_ok=True)
    document = data.draw(mutations(valid(store)) | json_values)
    put(first, files, "run.json", json.dumps(document).encode())
    check(folder, first)
    check(folder, first)  # from the index


@examples(short=15)
@given(data=st.data())
def test_any_bytes_as_a_record_or_a_table(store, data):
    folder, first, files = store
    name = data.draw(st.sampled_from(["run.json", "history.parquet", "layers.parquet"]))
    other = files["layers.parquet" if name == "history.parquet" else "history.parquet"]
    content = data.draw(st.none() | damaged(files[name], other) | st.binary(max_size=20))
    put(first, files, name, content)
    is_same = content == files[name]
    if name != "run.json":
        assert first.is_finished() == is_same
    check(folder, first)


@examples(short=8)
@given(data=st.data())
def test_any_bytes_as_an_index_or_kept_verdicts(store, data):
    folder, first, files = store
    put(first, files, "run.json", files["run.json"])
    read_everything(folder)
    name = data.draw(st.sampled_from([INDEX, ".undecided.json"]))
    content = (folder.path / name).read_bytes() if (folder.path / name).exists() else b"{}"
    (folder.path / name).write_bytes(data.draw(damaged(content) | st.binary(max_size=20)))
    rows, _, complaints = read_everything(folder)
    assert [row["status"] for row in rows] == ["done", "done"]
    assert "run.json" not in complaints
    assert ".parquet" not in complaints


@examples(short=15)
@given(data=st.data())
def test_any_table_as_the_study_of_stored_results(store, data):
    folder, first, files = store
    put(first, files, "run.json", files["run.json"])
    text = STUDY_FILES.setdefault(folder.path, folder.study_file.read_text())
    document = data.draw(mutations(tomllib.loads(text), toml_values))
    content = data.draw(st.just(as_toml(document) or b"") | damaged(text.encode()))
    folder.study_file.write_bytes(content)
    try:
        read_everything(folder)
    finally:
        folder.study_file.write_text(text)


STUDY_FILES = {}
