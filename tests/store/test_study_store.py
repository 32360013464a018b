import os
import shutil
from contextlib import nullcontext
from dataclasses import replace

import pytest

from depthbench.data import DATASETS
from depthbench.errors import BadInput
from depthbench.networks import NETWORKS, Family
from depthbench.probes import PROBES
from depthbench.store import study_store
from depthbench.store.results import load_results
from depthbench.store.study_store import INDEX, UNDECIDED, StudyStore
from depthbench.study.model import FORMAT
from depthbench.training.optimizers import OPTIMIZERS
from tests.store.conftest import write_run


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


@pytest.mark.parametrize(
    ("entries", "name", "what"),
    [
        (NETWORKS, "plain", "network plain"),
        (OPTIMIZERS, "sgd", "optimizer sgd"),
        (PROBES, "weight_norm", "probe weight_norm"),
        (DATASETS, "digits", "data set digits"),
    ],
)
def test_an_edited_plugin_is_named_with_what_the_study_uses_of_it(
    tmp_path, tiny, monkeypatch, entries, name, what
):
    """An edited probe is not an edited network."""
    for other, known in ((NETWORKS, "plain"), (PROBES, "grad_norm_weight")):  # another plug-in, not edited
        monkeypatch.setitem(other, known, replace(other[known], source="same", origin="same.py"))
    store = StudyStore(tmp_path)
    for source in ("old", "new"):
        monkeypatch.setitem(entries, name, replace(entries[name], source=source, origin="edited.py"))
        study = tiny(grid={"network": ["plain"]})
        if source == "old":
            with store.opened(study, "hash"):
                write_run(store, next(study.runs()))
    message = rf"runs of plain by another version of edited\.py \({what}\): add --name NAME"
    with pytest.raises(BadInput, match=message):
        store.check(study, "hash")


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


def test_a_baseline_can_be_added_to_a_stored_variant(stored, tiny):
    store, _ = stored
    for variant in (BARE, BARE | {"baseline": "plain"}):
        with store.opened(tiny(variants={"bare": variant}, grid={"network": ["bare"]}), "hash"):
            pass
    assert store.study().variants["bare"].baseline == "plain"


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


def test_fresh_discards_what_depthbench_made_and_nothing_else(stored, tiny):
    store, _ = stored
    for name in ("report/index.html", "tensorboard/events", "notes/ideas.txt"):
        file = store.path / name
        file.parent.mkdir()
        file.touch()
    other = tiny(recipe={"lr": 0.5})
    with store.opened(other, "hash", fresh=True):
        assert store.run_stores() == []
    assert store.study() == other
    assert {path.name for path in store.path.iterdir()} - {".lock"} == {"study.toml", "notes"}
    assert (store.path / "notes" / "ideas.txt").exists()


def test_fresh_does_not_discard_a_run_that_another_process_writes(stored, tiny, monkeypatch):
    monkeypatch.setattr(study_store, "LOCK_SECONDS", 0.1)
    store, study = stored
    busy, other = (write_run(store, run) for run in study.runs())
    with busy.locked(), pytest.raises(BadInput, match="another process is writing to it"):
        store.opened(study, "hash", fresh=True).__enter__()
    assert busy.read() is not None
    assert other.read() is not None


def test_an_incompatible_version_is_refused_for_reading_and_writing(stored):
    store, study = stored
    file = store.path / "study.toml"
    file.write_text(file.read_text().replace(f"format = {FORMAT}", "format = 99"))
    for action in (lambda: load_results(store.path), lambda: store.check(study, "hash")):
        with pytest.raises(
            BadInput, match="results format 99, but this version of depthbench reads format 1"
        ):
            action()


def test_runs_without_a_study_file_are_used_again_only_by_their_own_study(tiny, tmp_path):
    """A directory that is deleted while a killed command saves its runs remains like this."""
    study = tiny()
    store = StudyStore(tmp_path / "tiny")
    with store.opened(study, "hash"):
        run_store = write_run(store, next(study.runs()))
        run_store.write(run_store.read().changed(hashes={"data": "hash"}))
    store.study_file.unlink()
    (store.path / "plugins" / ("0" * 8)).mkdir(parents=True)
    for other, data_hash in ((study, "other images"), (tiny(recipe={"lr": 0.5}), "hash")):
        with pytest.raises(BadInput, match="holds other files but no study"):
            store.check(other, data_hash)
    with store.opened(study, "hash"):
        assert len(store.records()) == 1
    assert store.study_file.exists()


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


def test_a_margin_set_earlier_is_kept(stored, tiny):
    store, _ = stored
    for margin in (2.0, 9.0):
        with store.opened(tiny(verdict={"margin": margin}), "hash"):
            pass
    assert store.study().verdict.margin == 2.0


def test_the_bounds_of_an_earlier_search_are_kept(stored, tiny):
    store, _ = stored
    for changes in ({"frontier": {"below": 30.0}}, {}):
        with store.opened(tiny(**changes), "hash"):
            pass
    assert store.study().frontier.below == 30.0


def test_files_that_a_kill_left_half_written_are_removed(stored):
    store, study = stored
    (run_store,) = store.run_stores()
    part = run_store.path / ".history.parquet.x1y2.part"
    part.write_bytes(b"PAR1")
    os.utime(part, (0, 0))  # by an older version, which did not name its process
    with store.opened(study, "hash"):
        assert not part.exists()
    assert run_store.is_finished()


def test_fresh_may_be_killed_at_any_moment(stored):
    store, study = stored
    for name in (INDEX, UNDECIDED):
        (store.path / name).write_text("cached")
    store._discard()
    assert not any((store.path / name).exists() for name in (INDEX, UNDECIDED))
    (store.path / INDEX).write_text("cached")  # by a command that read the study meanwhile
    with store.opened(study, "hash", fresh=True):
        pass


def test_a_directory_that_was_deleted_is_locked_again_or_left_to_the_other_process(stored):
    store, study = stored
    other = StudyStore(store.path)
    with store.opened(study, "hash"):
        shutil.rmtree(store.path)
        assert store.restore()
        with pytest.raises(BadInput, match="another depthbench"), other.opened(study, "hash"):
            pytest.fail("it must not open")
        shutil.rmtree(store.path)
        with other.opened(study, "hash"), pytest.raises(BadInput, match="was deleted, and another"):
            store.restore()


def test_a_directory_of_studies_names_those_in_it(stored):
    store, _ = stored
    with pytest.raises(BadInput, match=f"holds no results .*: name {store.path}$"):
        StudyStore(store.path.parent).table()


def test_a_broken_study_file_is_refused_until_it_is_discarded(stored):
    store, study = stored
    store.study_file.write_text("[grid")
    for fresh, refusal in ((False, pytest.raises(BadInput, match="not valid TOML")), (True, nullcontext())):
        with refusal:
            store.check(study, "hash", fresh)


def test_a_path_that_cannot_be_a_directory_is_refused(tiny, tmp_path):
    (tmp_path / "file").touch()
    for path, message in (("file", "is a file, not a directory"), ("file/tiny", "cannot be written")):
        store = StudyStore(tmp_path / path)
        with pytest.raises(BadInput, match=message), store.opened(tiny(), "hash"):
            pytest.fail("it must not open")


def test_a_level_to_reach_joins_a_margin_set_earlier(stored, tiny):
    store, _ = stored
    for verdict in ({"margin": 2.0}, {"reach": 5.0, "margin": 9.0}, {}):
        with store.opened(tiny(verdict=verdict), "hash"):
            pass
    assert store.study().verdict.model_dump() == {"margin": 2.0, "reach": 5.0}


def test_a_shared_directory_is_locked_only_while_a_study_joins(stored, tiny, monkeypatch, capsys):
    monkeypatch.setattr(study_store, "JOIN_SECONDS", 0.1)
    monkeypatch.setattr(study_store, "SILENT_SECONDS", 0.05)
    store, study = stored
    first, second, alone = (StudyStore(store.path) for _ in range(3))
    with (
        first.opened(study, "hash", shared=True),
        second.opened(tiny(grid={"depth": [14]}), "hash", shared=True),
    ):
        assert {run.depth for run in store.study().runs()} == {8, 14}
        shutil.rmtree(store.path)
        assert first.restore()
        assert not second.restore()
        with alone.opened(study, "hash"):  # the runs have locks of their own
            pass
    assert not first.restore()
    with (
        alone.opened(study, "hash"),
        pytest.raises(BadInput, match="another depthbench"),
        first.opened(study, "hash", shared=True),
    ):
        pytest.fail("it must not open")
    assert f"{store.path}: waiting up to 0 s for another depthbench that writes" in capsys.readouterr().err


def test_a_study_that_another_process_writes_for_the_first_time_is_no_foreign_directory(tiny, tmp_path):
    store = StudyStore(tmp_path / "tiny")
    store.path.mkdir()
    (store.path / ".study.toml.host-1.abc.part").touch()
    store.check(tiny(), "hash")
