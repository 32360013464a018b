import json
import math
import os

import pandas as pd
import pytest

from depthbench.errors import BadInput
from depthbench.files import write_text
from depthbench.store.results import load_results, read_runs
from depthbench.store.run_store import RunStore
from tests.store.conftest import write_run


def test_run_json_holds_the_full_run(stored):
    store, study = stored
    (run_store,) = store.run_stores()
    run = json.loads((run_store.path / "run.json").read_text())["run"]
    assert run == next(study.runs()).model_dump(mode="json")


@pytest.mark.parametrize(
    ("changes", "version"),
    [
        ({"format": 99}, "99"),
        ({"format": 99, "status": "waiting", "seed": None}, "99"),  # another format can have other types
        ({"format": "1.1"}, "'1.1'"),
        ({"format": None}, "None"),
    ],
)
def test_a_run_of_another_format_is_refused(stored, changes, version):
    store, study = stored
    (run_store,) = store.run_stores()
    run_store.record_file.write_text(json.dumps(run_store.read().to_dict() | changes))
    with pytest.raises(BadInput, match=f"run.json has results format {version}, but .* use the version that"):
        read_runs(store.path)
    with pytest.raises(BadInput, match=f"run.json has results format {version}"):
        store.check(study, "hash")


@pytest.mark.parametrize("name", ["history.parquet", "run.json"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(stored, name):
    store, _ = stored
    (run_store,) = store.run_stores()
    (run_store.path / name).unlink()
    os.mkfifo(run_store.path / name)
    assert not run_store.is_finished()


@pytest.mark.parametrize("name", ["history.parquet", "layers.parquet", "predictions.parquet", "run.json"])
def test_a_truncated_file_is_not_a_finished_run(stored, name):
    store, _ = stored
    (run_store,) = store.run_stores()
    run_store.write_frame("predictions", pd.DataFrame({"label": [0], "predicted": [1]}, dtype="uint8"))
    assert run_store.is_finished()
    file = run_store.path / name
    file.write_bytes(file.read_bytes()[:-20])
    assert not run_store.is_finished()


def reversed_rows(file):
    pd.read_parquet(file)[::-1].to_parquet(file, index=False)


def without_the_last_row(file):
    pd.read_parquet(file)[:-1].to_parquet(file, index=False)


def removed(file):
    file.unlink()


@pytest.mark.parametrize("damage", [reversed_rows, without_the_last_row, removed])
def test_a_table_that_was_changed_is_not_a_finished_run(stored, damage, capsys):
    store, study = stored
    (run_store,) = store.run_stores()
    run_store = write_run(store, next(study.runs()))
    run_store.write(run_store.read().changed(tables=run_store.written))
    assert run_store.is_finished()
    assert len(load_results(store.path).history) == 2
    damage(run_store.path / "history.parquet")
    assert not run_store.is_finished()
    assert load_results(store.path).history.empty
    assert "history.parquet is" in capsys.readouterr().err


@pytest.mark.parametrize(
    "changes",
    [
        {"run": None},
        {"run": {"recipe": None}},
        {"run": {"recipe": {"optimizer_settings": 5}}},
        {"run": {"data": []}},
        {"final": None},
        {"depth": 10**30},
        {"timing": {"seconds": 1e308}},
        {"timing": {"seconds": math.nan}},
        {"run": {"recipe": {"lr": 10**400}}},
        {"run": {"recipe": {"lr": math.nan}}},
        {"run": {"recipe": {"optimizer_settings": {"eps": 10**400}}}},
        {"run": {"options": {"dropout": 10**309}}},
        {"image_shape": [10**400, 8, 8]},
        {"format": 10**400},
        {"format": 1e308},
        {"timing": {"peak_memory": 10**300}},
        {"final": {"test_error_top5": 10**20}},
        {"seed": -1},
        {"run_id": "plain-8-s1-000000"},  # copied from another run
    ],
)
def test_a_record_of_the_wrong_shape_is_skipped_and_named(stored, changes, capsys):
    store, _ = stored
    (run_store,) = store.run_stores()
    run_store.record_file.write_text(json.dumps(run_store.read().to_dict() | changes))
    assert run_store.read() is None
    assert read_runs(store.path) == []
    assert f"{run_store.path}: run.json cannot be read; skipping the run" in capsys.readouterr().err


def test_a_deeply_nested_record_is_unreadable(stored):
    (run_store,) = stored[0].run_stores()
    run_store.record_file.write_text(5000 * "[" + 5000 * "]")
    assert run_store.read() is None


def test_diverged_is_finished_and_failed_is_not(stored, tiny):
    store, study = stored
    _, residual = study.runs()
    assert write_run(store, residual, "diverged").is_finished()
    assert not write_run(store, residual, "failed").is_finished()
    assert not write_run(store, residual, "interrupted").is_finished()


@pytest.mark.parametrize("name", ["history", "layers"])
def test_a_run_without_one_of_its_tables_is_not_finished(stored, name):
    store, _ = stored
    (run_store,) = store.run_stores()
    table = run_store.path / f"{name}.parquet"
    table.rename(table.with_suffix(".old"))
    assert not run_store.is_finished()


def test_a_run_without_a_logged_row_is_not_finished(stored):
    store, _ = stored
    (run_store,) = store.run_stores()
    run_store.write_frame("history", run_store.frame("history").iloc[:0])
    assert not run_store.is_finished()


@pytest.mark.parametrize("content", [None, "", '["status"]', "{}", '{"status": "done"'])
def test_what_is_not_a_record_is_read_as_none(tmp_path, content):
    run_store = RunStore(tmp_path / "run")
    if content is not None:
        write_text(run_store.record_file, content)
    assert run_store.read() is None
    assert not run_store.is_finished()


def test_a_record_with_half_of_a_character_is_unreadable(stored):
    store, _ = stored
    (run,) = store.run_stores()
    text = run.record_file.read_text()
    run.record_file.write_text(text.replace('"plain"', r'"pl\ud83d\ude00ain"', 1))
    assert run.read() is not None  # a whole one
    run.record_file.write_text(text.replace('"plain"', r'"pl\uD83Dain"', 1))
    assert run.read() is None
