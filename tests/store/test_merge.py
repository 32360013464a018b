import os
import shutil

import pytest

from depthbench import load_results, merge_results
from depthbench.errors import BadInput
from depthbench.execution.plan import make_plan
from depthbench.execution.settings import Execution
from depthbench.execution.shards import shard_of
from depthbench.store.study_store import MERGING, StudyStore
from tests.store.conftest import write_run


@pytest.fixture
def store_of(tiny, tmp_path):
    """Return a function that stores some runs of a study, and returns their directory."""

    def make(folder, statuses=("done",), data_hash="hash", **study):
        made = tiny(**study)
        store = StudyStore(tmp_path / folder)
        with store.opened(made, data_hash):
            for run, status in zip(made.runs(), statuses, strict=False):
                write_run(store, run, status)
        return store

    return make


def files(path):
    return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.rglob("*") if file.is_file()}


def statuses(path):
    return {record.run_id: record.status for record in StudyStore(path).records()}


def test_shards_of_separate_directories_make_the_whole_study(tiny, tmp_path, digits):
    study = tiny(grid={"depth": [8, 14], "seed": [0, 1]})
    data_hash = digits.content_hash()
    parts = [StudyStore(tmp_path / f"part{index}") for index in (1, 2, 3)]
    for index, store in enumerate(parts, 1):
        with store.opened(study, data_hash, shared=True):
            for run in shard_of(study.runs(), index, 3):
                write_run(store, run)
    before = files(parts[0].path)
    path = merge_results([store.path for store in parts], tmp_path / "tiny")
    assert {file: content for file, content in files(parts[0].path).items() if file.name != ".lock"} == {
        file: content for file, content in before.items() if file.name != ".lock"
    }
    assert set(load_results(path).runs.status) == {"done"}
    assert make_plan(study, Execution(tmp_path, device="cpu")).todo == ()
    assert not (path / MERGING).exists()
    merged = files(path / "runs")
    assert merge_results([parts[1].path], path) == path  # again: nothing is copied
    assert files(path / "runs") == merged


def test_grids_variants_and_plugins_join(store_of, tmp_path):
    bare = {"of": "plain", "options": {"norm": "none"}}
    a = store_of("a", ["done"] * 2)
    b = store_of("b", variants={"bare": bare}, grid={"network": ["bare"], "seed": [3]}, may_diverge=["bare"])
    merged = StudyStore(merge_results([a.path, b.path], tmp_path / "ab")).study()
    assert {run.run_id for run in merged.runs()} == {*statuses(a.path), *statuses(b.path)}
    assert (merged.name, merged.may_diverge) == ("ab", ["bare"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": {"lr": 0.5}}, r"a and .*b have different settings, .*: recipe\.lr is 0\.05 and 0\.5"),
        (
            {"data_hash": "other"},
            r"a and .*b have different settings, .*: the hash of the images is hash and other",
        ),
        (
            {"recipe": {"lr": 0.5, "batch_size": 8}, "evaluate": {"every": 3, "log_every": 3}},
            r"evaluate\.every is 6 and 3; evaluate\.log_every is 4 and 3; .*; 1 more",
        ),
    ],
)
def test_other_settings_are_refused_before_anything_is_written(store_of, tmp_path, changes, message):
    a, b = store_of("a"), store_of("b", **changes)
    for into in (tmp_path / "ab", a.path):
        before = files(tmp_path)
        with pytest.raises(BadInput, match=message):
            merge_results([a.path, b.path], into)
        assert {f for f in files(tmp_path) if f.name != ".lock"} == {f for f in before if f.name != ".lock"}
    assert not (tmp_path / "ab").exists()


def change(store, **changes):
    (run_store,) = store.run_stores()
    run_store.write(run_store.read().changed(**changes))
    return run_store


def test_another_version_of_a_plugin_or_other_images_are_refused(store_of, tmp_path):
    a, b = store_of("a"), store_of("b")
    (record,) = b.records()
    change(b, run=record.run | {"plugin": "f00"})
    with pytest.raises(BadInput, match="runs of plain by different versions of its plug-in"):
        merge_results([a.path, b.path], tmp_path / "ab")
    change(b, run=record.run, hashes={"data": "other"})
    with pytest.raises(BadInput, match=f"{record.run_id} was trained on other images"):
        merge_results([a.path, b.path], tmp_path / "ab")


def test_equal_results_are_one_and_different_ones_are_refused(store_of, tmp_path):
    a, b = store_of("a"), store_of("b")
    (record,) = b.records()
    change(b, timing={"seconds": 3.0}, environment={"device": "another"})
    merged = merge_results([a.path, b.path], tmp_path / "ab")
    assert StudyStore(merged).records()[0].timing.seconds is None
    run_store = change(b, final={"test_error": 51.0})
    with pytest.raises(BadInput, match=rf"{record.run_id} are different results .* \(final differ\)"):
        merge_results([a.path, b.path], tmp_path / "again")
    change(b, final={"test_error": 50.0})
    history = run_store.frame("history")
    run_store.write_frame("history", history.assign(loss=1.0))
    change(b, tables={})
    with pytest.raises(BadInput, match=r"\(history\.parquet differ\): delete one of them"):
        merge_results([a.path, b.path], tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_the_best_copy_of_a_run_is_kept(store_of, tmp_path):
    early, late, done = store_of("a", ["interrupted"]), store_of("b", ["failed"]), store_of("c")
    for store, step in ((early, 4), (late, 9)):
        change(store, step=step).checkpoint.write_bytes(b"state")
    path = merge_results([early.path, late.path], tmp_path / "ab")
    (record,) = StudyStore(path).records()
    assert (record.step, record.status) == (9, "failed")
    assert StudyStore(path).run_stores()[0].checkpoint.read_bytes() == b"state"
    assert set(statuses(merge_results([early.path, done.path], path)).values()) == {"done"}
    assert not StudyStore(path).run_stores()[0].checkpoint.exists()
    assert set(statuses(merge_results([early.path], path)).values()) == {"done"}


def test_damaged_runs_are_skipped_with_a_message(store_of, tmp_path):
    a, b = store_of("a", ["done", "done"]), store_of("b")
    broken, unreadable = a.run_stores()
    (broken.path / "history.parquet").write_bytes(b"PAR1")
    unreadable.record_file.write_text("null")
    messages = []
    path = merge_results([a.path], tmp_path / "ab", notify=messages.append)
    assert statuses(path) == {}
    assert sorted(messages) == sorted(
        [
            f"{broken.path}: its tables cannot be read; skipping the run",
            f"{unreadable.path}: run.json cannot be read; skipping the run",
        ]
    )
    merge_results([b.path], a.path, notify=messages.append)  # repairs it
    assert broken.is_finished()


def test_the_state_of_a_damaged_run_is_kept(store_of, tmp_path):
    damaged, early, done = store_of("a", ["interrupted"]), store_of("b", ["interrupted"]), store_of("c")
    change(early, step=4).checkpoint.write_bytes(b"early")
    (run,) = damaged.run_stores()
    run.record_file.write_text("null")
    run.checkpoint.write_bytes(b"late")
    messages = []
    merge_results([early.path], damaged.path, notify=messages.append)
    assert run.checkpoint.read_bytes() == b"late"
    assert "keeping its checkpoint" in messages[-1]
    assert set(statuses(merge_results([done.path], damaged.path)).values()) == {"done"}


def test_a_kill_leaves_a_directory_that_merging_again_completes(store_of, tmp_path, monkeypatch):
    a = store_of("a", ["done", "done"])
    copy2, copied = shutil.copy2, []

    def killed(source, target):
        copied.append(source)
        if len(copied) == 6:
            raise KeyboardInterrupt
        copy2(source, target)

    monkeypatch.setattr(shutil, "copy2", killed)
    with pytest.raises(KeyboardInterrupt):
        merge_results([a.path], tmp_path / "b")
    (run_store,) = StudyStore(tmp_path / "b").run_stores()
    assert run_store.is_finished()
    merge_results([a.path], tmp_path / "b")
    assert statuses(tmp_path / "b") == statuses(a.path)


def test_what_is_in_use_or_unclear_is_refused(store_of, tmp_path, tiny):
    a, b = store_of("a"), store_of("b")
    with a.run_stores()[0].locked(), pytest.raises(BadInput, match="another process is writing to it"):
        merge_results([a.path, b.path], tmp_path / "ab")
    with b.opened(tiny(), "hash"), pytest.raises(BadInput, match="another depthbench is writing to it"):
        merge_results([a.path], b.path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "ideas.txt").touch()
    for into, message in (
        (tmp_path / "notes", "holds other files but no study"),
        (a.path / "inside", "one contains the other"),
        (tmp_path / "-x", "the name of the directory, which names the study, should be 1 to 100"),
    ):
        with pytest.raises(BadInput, match=message):
            merge_results([a.path], into)
    with pytest.raises(BadInput, match="holds no results"):
        merge_results([tmp_path / "nowhere"], tmp_path / "ab")
    with pytest.raises(BadInput, match="name at least one"):
        merge_results([], tmp_path / "ab")
    a.study_file.write_text(a.study_file.read_text().replace("plugins = []", "plugins = 3"))
    with pytest.raises(BadInput, match="plugins = 3: should be a list"):
        merge_results([a.path], tmp_path / "ab")


def test_links_are_not_followed(store_of, tmp_path):
    a = store_of("a")
    (run_store,) = a.run_stores()
    os.symlink("/etc/hostname", run_store.path / "error.txt")
    merge_results([a.path], tmp_path / "b")
    assert not list((tmp_path / "b").rglob("error.txt"))


def test_a_target_that_cannot_be_used_is_refused_with_the_flag_that_names_it(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="file is a file, not a directory: use another --into DIR"):
        merge_results([tmp_path / "a"], tmp_path / "file")
