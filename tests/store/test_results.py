import errno
import json
import math

import pandas as pd
import pytest

from depthbench.errors import BadInput
from depthbench.store import run_store
from depthbench.store.record import Record
from depthbench.store.results import load_predictions, load_results, missing_tables, read_runs, running
from depthbench.store.study_store import StudyStore
from depthbench.training.optimizers import OPTIMIZERS, Optimizer
from tests.store.conftest import write_run


def test_three_tidy_frames(stored):
    store, study = stored
    runs, history, layers = load_results(store.path)
    run = next(study.runs())
    assert runs[
        ["run_id", "network", "depth", "seed", "status", "parameters", "test_error"]
    ].values.tolist() == [[run.run_id, "plain", 8, 0, "done", 7, 50.0]]
    assert history.columns.tolist() == ["run_id", "network", "depth", "seed", "step", "loss", "test_error"]
    assert history.loss.tolist() == [2.5, 2.0]
    assert layers.network.tolist() == ["plain", "plain"]


def test_settings_of_an_optimiser_are_columns_where_a_run_sets_them(stored, tiny):
    store, _ = stored
    assert not any("optimizer_settings" in key or "betas" in key for key in read_runs(store.path)[0])
    recipe = {"optimizer": "adamw", "optimizer_settings": {"betas": [0.9, 0.95]}}
    write_run(store, next(tiny(recipe=recipe, grid={"depth": [14]}).runs()))
    first, second = load_results(store.path).runs["recipe.betas"]
    assert (math.isnan(first), second) == (True, [0.9, 0.95])


def test_a_setting_of_an_optimiser_does_not_replace_a_key_of_the_recipe(stored, tiny, monkeypatch):
    settings = {"warmup_steps": (int, 7)}  # as a plug-in's class declares it
    monkeypatch.setitem(OPTIMIZERS, "sf", Optimizer("torch.optim:SGD", settings=settings))
    store, _ = stored
    recipe = {"optimizer": "sf", "optimizer_settings": {"warmup_steps": 9}, "warmup_steps": 0.35}
    write_run(store, next(tiny(recipe=recipe, grid={"depth": [14]}).runs()))
    row = read_runs(store.path)[-1]
    assert (row["recipe.warmup_steps"], row["recipe.optimizer_settings.warmup_steps"]) == (0.35, 9)


def test_the_row_of_a_variant_names_its_family(tmp_path, tiny):
    bare = {"of": "plain", "options": {"norm": "none"}, "recipe": {"batch_size": 8}}
    study = tiny(variants={"bare": bare}, grid={"network": ["bare"]})
    store = StudyStore(tmp_path)
    with store.opened(study, "hash"):
        run = next(study.runs())
        store.run(run.run_id).write(Record.of(run))
    (row,) = read_runs(tmp_path)
    assert (row["network"], row["family"]) == ("bare", "plain")
    assert (row["options.norm"], row["options.width"], row["options.init"]) == ("none", 4, "he")
    assert (row["recipe.batch_size"], row["recipe.lr"]) == (8, 0.05)
    assert row["data.name"] == "digits"


def test_results_can_be_read_without_the_plugin_that_made_them(stored):
    store, _ = stored
    file = store.path / "study.toml"
    file.write_text(
        file.read_text().replace("plugins = []", 'plugins = ["gone.py"]').replace('"plain"', '"mine"')
    )
    assert len(load_results(store.path).runs) == 1
    with pytest.raises(BadInput, match=r"its plug-in .*gone.py is not loaded"):
        store.study()


def test_a_record_that_this_version_cannot_read_is_skipped(stored, capsys):
    store, _ = stored
    (run_store,) = store.run_stores()
    run_store.record_file.write_text(json.dumps(run_store.read().to_dict() | {"status": "waiting"}))
    assert read_runs(store.path) == []
    assert "run.json cannot be read; skipping the run" in capsys.readouterr().err


def test_predictions_are_named_by_class(stored):
    store, study = stored
    assert load_predictions(store.path).empty  # runs of earlier versions have none
    (run_store,) = store.run_stores()
    run_store.write_frame("predictions", pd.DataFrame({"label": [0, 1], "predicted": [1, 1]}, dtype="uint8"))
    run_store.write(run_store.read().changed(classes=["cat", "dog"]))
    frame = load_predictions(store.path)
    run = next(study.runs())
    assert frame.values.tolist() == [
        [run.run_id, "plain", 8, 0, "cat", "dog"],
        [run.run_id, "plain", 8, 0, "dog", "dog"],
    ]
    assert list(frame.label.cat.categories) == list(frame.predicted.cat.categories) == ["cat", "dog"]


@pytest.mark.parametrize("name", ["history.parquet", "layers.parquet", "run.json"])
def test_a_truncated_file_is_reported(stored, name, capsys):
    store, _ = stored
    (run_store,) = store.run_stores()
    file = run_store.path / name
    file.write_bytes(file.read_bytes()[:-20])
    load_results(store.path)  # prints a line and reads the rest
    problem = "cannot be read" if name.startswith("run") else "is damaged"
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("name", ["history", "layers"])
def test_a_missing_table_of_a_finished_run_is_reported(stored, name, capsys):
    store, _ = stored
    (run_store,) = store.run_stores()
    (run_store.path / f"{name}.parquet").unlink()
    load_results(store.path)
    assert capsys.readouterr().err.endswith(f"{name}.parquet is missing; rerun its study\n")
    run_store.write(run_store.read().changed(status="interrupted"))
    load_results(store.path)
    assert capsys.readouterr().err == ""


def test_tables_that_finished_runs_lack_are_named(stored):
    store, study = stored
    rows = read_runs(store.path)
    assert missing_tables(store.path, rows) == []
    run_id = next(study.runs()).run_id
    (store.run(run_id).path / "layers.parquet").unlink()
    assert missing_tables(store.path, rows) == [f"{run_id}/layers.parquet"]
    assert missing_tables(store.path, [rows[0] | {"status": "interrupted"}]) == []


def test_a_run_that_a_process_trains_is_running(stored, tiny):
    store, study = stored
    busy, other = tiny(grid={"network": ["plain", "resnet"], "depth": [14]}).runs()
    for run in (busy, other):
        store.run(run.run_id).write(Record.of(run).changed(status="failed", reason="boom"))
    with store.run(busy.run_id).locked():
        rows = {row["run_id"]: row for row in running(store, read_runs(store.path))}
    assert (rows[busy.run_id]["status"], rows[busy.run_id]["reason"]) == ("running", None)
    assert rows[other.run_id]["status"] == "failed"
    assert rows[next(study.runs()).run_id]["status"] == "done"
    assert [row["status"] for row in running(store, read_runs(store.path))].count("running") == 0


def test_a_run_in_progress_without_a_record_has_a_row(stored, tiny, capsys):
    store, _ = stored
    (begun,) = tiny(grid={"network": ["resnet"], "depth": [20], "seed": [3]}).runs()
    with store.run(begun.run_id).locked():
        (*_, row) = running(store, read_runs(store.path))
    assert {key: value for key, value in row.items() if value is not None} == {
        "run_id": begun.run_id,
        "network": "resnet",
        "depth": 20,
        "seed": 3,
        "status": "running",
    }
    assert capsys.readouterr().err == ""


def test_a_file_in_the_place_of_a_run_is_named(stored, capsys):
    store, _ = stored
    (file := store.path / "runs" / "plain-8-s7-0123abc").write_text("mine")
    (store.path / "runs" / "notes.txt").write_text("mine")
    assert len(read_runs(store.path)) == 1
    assert capsys.readouterr().err == (
        f"depthbench: {file}: a file in the place of a run's directory; move it away\n"
    )


def test_a_run_that_must_not_be_read_is_named_and_the_others_are_shown(stored, tiny, monkeypatch, capsys):
    store, _ = stored
    other = next(tiny(grid={"depth": [14]}).runs())
    write_run(store, other)
    whole, secret = read_runs(store.path), ["history.parquet"]

    def read(file, function=run_store.read_regular):
        if other.run_id in str(file) and file.name in secret:
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return function(file)

    monkeypatch.setattr(run_store, "read_regular", read)
    assert len(load_results(store.path).history["run_id"].unique()) == 1
    line = f"{other.run_id}: history.parquet cannot be read; change its permissions"
    assert line in capsys.readouterr().err
    secret.append("run.json")
    (store.path / ".index.json").unlink(missing_ok=True)
    (row,) = read_runs(store.path)
    assert row in whole
    assert f"{other.run_id}: run.json cannot be read; skipping the run" in capsys.readouterr().err
