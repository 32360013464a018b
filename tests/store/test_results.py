import json
import math

import pandas as pd
import pytest

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS, Family
from depthbench.store.record import Record
from depthbench.store.results import load_predictions, load_results, read_runs
from depthbench.store.study_store import StudyStore
from depthbench.study.model import FORMAT


@pytest.fixture
def stored(tiny, tmp_path):
    """Return a store with one finished run of a tiny study, and the study."""
    store, study = StudyStore(tmp_path / "tiny"), tiny()
    with store.opened(study, "hash"):
        write_run(store, next(study.runs()))
    return store, study


def write_run(store, run, status="done"):
    run_store = store.run(run.run_id)
    history = [{"step": 1, "loss": 2.5, "test_error": math.nan}, {"step": 2, "loss": 2.0, "test_error": 50.0}]
    layers = pd.DataFrame({"step": [0, 0], "layer": [1, 2], "name": ["a", "b"], "stage": ["1", "fc"]})
    run_store.write_rows(history, layers)
    record = Record.of(run, parameters=7).changed(status=status, final={"test_error": 50.0})
    run_store.write(record)
    return run_store


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


def test_the_frozen_study_can_be_run_again(stored):
    store, study = stored
    assert store.study() == study


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ({"depth": [20]}, 4),  # a full grid grows
        ({"network": ["resnet"], "depth": [20], "seed": [3]}, 3),  # adds one run, not all combinations
        ({"network": ["plain"]}, 2),  # nothing new
    ],
)
def test_a_request_adds_exactly_its_runs(stored, tiny, grid, expected):
    store, study = stored
    more = tiny(grid=grid)
    with store.opened(more, "hash"):
        assert len(store.run_stores()) == 1
    joined = {run.run_id for run in store.study().runs()}
    assert joined == {run.run_id for each in (study, more) for run in each.runs()}
    assert len(joined) == expected


def test_networks_of_other_depths_may_join(stored, tiny, monkeypatch):
    monkeypatch.setitem(NETWORKS, "any", Family(lambda depth, in_channels, num_classes, width: None))
    store, _ = stored
    with store.opened(tiny(grid={"network": ["any"], "depth": [9]}), "hash"):
        pass
    assert {(run.network, run.depth) for run in store.study().runs()} == {
        ("plain", 8),
        ("resnet", 8),
        ("any", 9),
    }


BARE = {"of": "plain", "options": {"norm": "none"}, "recipe": {"batch_size": 8}}


def test_variants_join_and_stay(stored, tiny):
    store, _ = stored
    for name in ("bare", "bald"):
        with store.opened(tiny(variants={name: BARE}, grid={"network": [name]}), "hash"):
            pass
    study = store.study()
    assert {run.network for run in study.runs()} == {"plain", "resnet", "bare", "bald"}
    assert {run.options.norm for run in study.runs() if run.of == "plain"} == {"none"}
    other = BARE | {"options": {"norm": "group"}}
    with (
        pytest.raises(BadInput, match=r"other settings \(variants\.bare was"),
        store.opened(tiny(variants={"bare": other}, grid={"network": ["bare"]}), "hash"),
    ):
        pass


def test_the_row_of_a_variant_names_its_family(tmp_path, tiny):
    study = tiny(variants={"bare": BARE}, grid={"network": ["bare"]})
    store = StudyStore(tmp_path)
    with store.opened(study, "hash"):
        run = next(study.runs())
        store.run(run.run_id).write(Record.of(run))
    (row,) = read_runs(tmp_path)
    assert (row["network"], row["family"]) == ("bare", "plain")
    assert (row["options.norm"], row["options.width"], row["options.init"]) == ("none", 4, "he")
    assert (row["recipe.batch_size"], row["recipe.lr"]) == (8, 0.05)
    assert row["data.name"] == "digits"


@pytest.mark.parametrize(
    ("changes", "data_hash", "message"),
    [
        ({"recipe": {"lr": 0.5}}, "hash", "recipe.lr was 0.05 and is now 0.5"),
        ({"data": {"val_size": 100}}, "hash", "data.val_size was unset and is now 100"),
        ({"options": {"width": 8}}, "hash", "options.width was 4 and is now 8"),
        ({}, "other", "the hash of the images was hash and is now other"),
    ],
)
def test_another_recipe_or_data_set_is_refused_without_loss(stored, tiny, changes, data_hash, message):
    store, _ = stored
    before = {p: p.read_bytes() for p in store.path.rglob("*") if p.is_file()}
    with pytest.raises(BadInput, match="--name NAME") as error, store.opened(tiny(**changes), data_hash):
        pytest.fail("it must not open")
    assert message in str(error.value)
    assert {p: p.read_bytes() for p in store.path.rglob("*") if p.is_file()} == before


def test_fresh_discards_what_is_stored(stored, tiny):
    store, _ = stored
    other = tiny(recipe={"lr": 0.5})
    with store.opened(other, "hash", fresh=True):
        assert store.run_stores() == []
    assert store.study() == other


def test_an_incompatible_version_is_refused_for_reading_and_writing(stored):
    store, study = stored
    file = store.path / "study.toml"
    file.write_text(file.read_text().replace(f"format = {FORMAT}", "format = 99"))
    for action in (lambda: load_results(store.path), lambda: store.check(study, "hash")):
        with pytest.raises(
            BadInput, match="results format 99, but this version of depthbench reads format 1"
        ):
            action()


def test_results_can_be_read_without_the_plugin_that_made_them(stored):
    store, _ = stored
    file = store.path / "study.toml"
    file.write_text(
        file.read_text().replace("plugins = []", 'plugins = ["gone.py"]').replace('"plain"', '"mine"')
    )
    assert len(load_results(store.path).runs) == 1
    with pytest.raises(BadInput, match=r"gone.py: no such file"):
        store.study()


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


def test_a_record_that_this_version_cannot_read_is_skipped(stored, capsys):
    store, _ = stored
    (run_store,) = store.run_stores()
    run_store.record_file.write_text(json.dumps(run_store.read().to_dict() | {"status": "waiting"}))
    assert read_runs(store.path) == []
    assert "run.json cannot be read; skipping the run" in capsys.readouterr().err


def test_a_directory_that_is_not_a_study_is_refused(tiny, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    store = StudyStore(tmp_path)
    for fresh in (False, True):
        with pytest.raises(BadInput, match="holds other files"):
            store.check(tiny(), "hash", fresh)
    with pytest.raises(BadInput, match="holds no results"):
        load_results(tmp_path)


def test_a_second_writer_is_refused(stored):
    store, study = stored
    with (
        store.opened(study, "hash"),
        pytest.raises(BadInput, match="another depthbench is writing"),
        StudyStore(store.path).opened(study, "hash"),
    ):
        pytest.fail("it must not open")


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
    (run_store.path / "predictions.parquet").write_bytes(b"PAR1")
    assert not run_store.is_finished()


@pytest.mark.parametrize("name", ["history.parquet", "layers.parquet", "run.json"])
def test_a_truncated_file_is_not_a_finished_run(stored, name, capsys):
    store, _ = stored
    (run_store,) = store.run_stores()
    assert run_store.is_finished()
    file = run_store.path / name
    file.write_bytes(file.read_bytes()[:-20])
    assert not run_store.is_finished()
    load_results(store.path)  # prints a line and reads the rest
    assert "cannot be read" in capsys.readouterr().err


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


def test_diverged_is_finished_and_failed_is_not(stored, tiny):
    store, study = stored
    _, residual = study.runs()
    assert write_run(store, residual, "diverged").is_finished()
    assert not write_run(store, residual, "failed").is_finished()
    assert not write_run(store, residual, "interrupted").is_finished()


def test_a_new_record_is_interrupted(tiny):
    assert Record.of(next(tiny().runs())).status == "interrupted"


def test_run_json_holds_the_full_run(stored):
    store, study = stored
    (run_store,) = store.run_stores()
    run = json.loads((run_store.path / "run.json").read_text())["run"]
    assert run == next(study.runs()).model_dump(mode="json")


def test_a_margin_set_earlier_is_kept(stored, tiny):
    store, _ = stored
    for margin in (2.0, 9.0):
        with store.opened(tiny(verdict={"margin": margin}), "hash"):
            pass
    assert store.study().verdict.margin == 2.0
