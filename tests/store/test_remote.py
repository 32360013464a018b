import contextlib
import math
import shutil

import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from depthbench.errors import BadInput
from depthbench.files import write_text
from depthbench.store.merge import merge_results
from depthbench.store.record import Record
from depthbench.store.remote import Remote, fetch, fetch_all, fetch_file, push, push_page, remote_of
from depthbench.store.results import load_results
from depthbench.store.run_store import RunIsBusy, RunStore
from depthbench.store.study_store import StudyStore
from tests.store.conftest import write_run

LAYERS = pd.DataFrame({"step": [0], "layer": [1], "name": ["a"], "stage": ["fc"]})
WRITES = ("put_file", "cp_file", "rm_file", "pipe_file")  # what a push calls


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it is executed."""


@contextlib.contextmanager
def every_write(action):
    """Call `action(name of the file)` before and after each change of a file in memory."""
    with pytest.MonkeyPatch.context() as patch:
        for name in WRITES:
            original = getattr(MemoryFileSystem, name)

            def method(self, *values, _original=original, **settings):
                action(values[-1])
                _original(self, *values, **settings)
                action(values[-1])

            patch.setattr(MemoryFileSystem, name, method)
        yield


def killing_at(n):
    """Return an action that raises Killed when it is called for the n-th time."""
    calls = []

    def action(file):
        calls.append(file)
        if len(calls) == n:
            raise Killed

    return action, calls


def forget(url):
    """Delete everything at the URL, and its mirror on this machine."""
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    shutil.rmtree(Remote(url).mirror, ignore_errors=True)


@pytest.fixture
def run(tiny):
    return next(tiny().runs())


def saves(run):
    """Yield functions that make the saves of a run, one after another, as training does."""

    def save(store, step, status="interrupted"):
        if store.checkpoint.exists():
            store.checkpoint.rename(store.checkpoint.with_suffix(".before.pt"))
        write_text(store.checkpoint, str(step))
        finish(store, step, status)

    def finish(store, step, status):
        store.write_rows(
            [{"step": k, "loss": 1.0, "test_error": math.nan} for k in range(1, step + 1)], LAYERS
        )
        store.write(Record.of(run).changed(step=step, status=status, tables=store.written))

    def end(store):
        store.write_frame("predictions", LAYERS)
        finish(store, 3, "done")
        for file in (store.checkpoint, store.checkpoint.with_suffix(".before.pt")):
            file.unlink()
        store.push()

    yield lambda store: store.write(Record.of(run))
    yield lambda store: save(store, 1)
    yield lambda store: save(store, 2)
    yield end


def check_as_another_machine_sees_it(url, run, machine, last_step):
    """Check that the run can be resumed or is finished, and that nothing from before `last_step` is lost."""
    machine("second")
    store = StudyStore(url).run(run.run_id)
    shutil.rmtree(store.remote.mirror, ignore_errors=True)
    with store.locked(10):
        record = store.read()
        if record is None:
            assert last_step < 0
        elif record.is_finished:
            assert store.is_finished()
        else:
            steps = [int(file.read_text()) for file in store.path.glob("checkpoint*.pt")]
            assert max(steps, default=0) >= max(last_step, record.step or 0)
            for step in steps:
                assert step >= max(steps) - 1
    machine("first")


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_run_that_another_machine_can_continue(url, machine, run):
    action, calls = killing_at(0)
    with every_write(action):
        for save in saves(run):
            save(StudyStore(url).run(run.run_id))
    for n in range(1, len(calls) + 1):
        forget(url)
        last_step = -1
        with every_write(killing_at(n)[0]), contextlib.suppress(Killed):
            for save in saves(run):
                save(StudyStore(url).run(run.run_id))
                last_step += 1
        assert last_step < 3, "it was not killed"
        check_as_another_machine_sees_it(url, run, machine, last_step)
    assert n > 20


@pytest.mark.slow
def test_what_a_killed_process_did_not_push_is_pushed_by_the_next_command(url, machine, run, tiny):
    for n in range(1, 100, 3):
        forget(url)
        with StudyStore(url).opened(tiny(), "hash"):
            pass
        action, calls = killing_at(n)
        try:
            with every_write(action):
                for save in saves(run):
                    save(StudyStore(url).run(run.run_id))
        except Killed:
            local = StudyStore(url).run(run.run_id)
            before = {file.name: file.read_bytes() for file in local.path.iterdir() if file.name[0] != "."}
            with StudyStore(url).opened(tiny(), "hash"):
                pass
            files = Remote(url).files
            there = {
                name: files.read(f"runs/{run.run_id}/{name}") for name in files.list(f"runs/{run.run_id}")
            }
            assert there == before
            assert before == {
                file.name: file.read_bytes() for file in local.path.iterdir() if file.name[0] != "."
            }
        else:
            assert len(calls) < n
            return


@pytest.mark.slow
def test_the_network_may_fail_and_come_back_at_any_moment(url, machine, run, monkeypatch):
    monkeypatch.setattr("depthbench.store.files_at.RETRY_SECONDS", {"read": 0.0, "written": 0.0})
    for n in range(1, 100, 4):
        forget(url)
        calls = []

        def fail(file, calls=calls, n=n):
            calls.append(file)
            if len(calls) >= n:
                raise ConnectionError("no route")

        store, failures = StudyStore(url).run(run.run_id), []
        with every_write(fail):
            for save in saves(run):
                try:
                    save(store)
                except OSError as error:
                    failures.append(str(error))
        if not failures:
            return
        assert set(failures) == {f"{url} cannot be written (ConnectionError: no route)"}
        assert store.is_finished()  # in the mirror
        for checkpoint in store.path.glob("checkpoint*"):
            checkpoint.unlink()
        store.push()
        machine("second")
        (row,) = load_rows(url)
        assert (row["status"], row["step"]) == ("done", 3)
        machine("first")


def load_rows(url):
    write_text(Remote(url).mirror / "study.toml", "format = 1")
    return load_results(fetch(url)).runs.to_dict("records")


@pytest.fixture
def stored_at_url(url, tiny):
    """The URL of a study with one finished run, and the study."""
    store, study = StudyStore(url), tiny()
    with store.opened(study, "hash"):
        write_run(store, next(study.runs()))
    return url, study


def test_results_at_a_url_are_read_on_any_machine(stored_at_url, machine):
    url, study = stored_at_url
    here = load_results(url)
    machine("second")
    there = load_results(url)
    assert len(there.history) == 2
    for table, other in zip(here, there, strict=True):
        pd.testing.assert_frame_equal(table, other)
    assert StudyStore(url).study() == study


def test_only_what_has_changed_is_transferred(stored_at_url, machine, monkeypatch):
    url, _ = stored_at_url
    read = []
    original = MemoryFileSystem.cat_file

    def cat_file(self, path, **settings):
        read.append(path.rpartition("/")[2])
        return original(self, path, **settings)

    def get_file(self, path, target, **settings):
        read.append(path.rpartition("/")[2])
        with open(target, "wb") as file:
            file.write(original(self, path))

    monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)
    monkeypatch.setattr(MemoryFileSystem, "get_file", get_file)
    fetch(url)
    assert read == []
    machine("second")
    fetch(url)
    assert sorted(read) == ["history.parquet", "layers.parquet", "run.json", "study.toml"]
    read.clear()
    machine("first")
    (store,) = StudyStore(url).run_stores()
    written = []
    with every_write(written.append):
        store.write(store.read().changed(reason="new"))
    assert {path.rpartition("/")[2] for path in written} == {"run.json"}
    machine("second")
    read.clear()
    fetch(url)
    assert read == ["run.json"]


def test_the_earlier_checkpoint_is_not_uploaded_twice(url, machine, run, monkeypatch):
    uploaded = []
    original = MemoryFileSystem.put_file

    def put_file(self, source, target, **settings):
        uploaded.append(target.rpartition("/")[2])
        original(self, source, target, **settings)

    monkeypatch.setattr(MemoryFileSystem, "put_file", put_file)
    store = StudyStore(url).run(run.run_id)
    for save in list(saves(run))[:3]:
        save(store)
    assert uploaded.count("checkpoint.pt") == 2
    assert "checkpoint.before.pt" not in uploaded
    assert store.remote.files.read(f"runs/{run.run_id}/checkpoint.before.pt") == b"1"


def test_the_run_at_the_url_replaces_an_older_one_in_the_mirror(url, machine, run):
    first, second, *_ = saves(run)
    first(StudyStore(url).run(run.run_id))
    machine("second")
    store = StudyStore(url).run(run.run_id)
    with store.locked():
        second(store)
    machine("first")
    store = StudyStore(url).run(run.run_id)
    with store.locked():
        assert store.read().step == 1
        assert store.checkpoint.read_text() == "1"


def test_a_run_that_this_machine_is_writing_is_not_replaced(url, machine, run, tiny):
    store = StudyStore(url).run(run.run_id)
    first, second, *_ = saves(run)
    first(store)
    with store.locked():
        store.remote, remote = None, store.remote
        second(store)  # not pushed yet
        fetch(url)
        assert store.read().step == 1
        store.remote = remote
        store.push()
    assert not remote.is_ahead(run.run_id)


def test_a_run_is_locked_for_all_machines(stored_at_url, machine):
    url, study = stored_at_url
    run_id = next(study.runs()).run_id
    with StudyStore(url).run(run_id).locked():
        with pytest.raises(RunIsBusy, match=f"^{url}/runs/{run_id}: another process is writing to it"):
            StudyStore(url).run(run_id).locked(0.1).__enter__()
        machine("second")
        with pytest.raises(RunIsBusy, match=f"^{url}/runs/{run_id}: a process on .* is writing to it"):
            StudyStore(url).run(run_id).locked(0.1).__enter__()
    with StudyStore(url).run(run_id).locked():
        pass


def test_a_study_is_locked_for_all_machines(stored_at_url, machine):
    url, study = stored_at_url
    with StudyStore(url).opened(study, "hash"):
        machine("second")
        with pytest.raises(
            BadInput, match=f"^{url}: a depthbench on .* is writing to it; wait until it ends"
        ):
            StudyStore(url).opened(study, "hash").__enter__()
    with StudyStore(url).opened(study, "hash"):
        pass


def test_a_run_that_another_process_has_taken_over_is_not_written(stored_at_url, machine):
    url, study = stored_at_url
    run_id = next(study.runs()).run_id
    store = StudyStore(url).run(run_id)
    with store.locked():
        store.remote.files.write(f"runs/{run_id}/.lock", b'{"owner": "another"}')
        before = store.remote.files.read(f"runs/{run_id}/run.json")
        with pytest.raises(OSError, match="another process has taken over the lock"):
            store.write(store.read().changed(reason="late"))
        assert store.remote.files.read(f"runs/{run_id}/run.json") == before


def test_fresh_discards_what_is_at_the_url(stored_at_url, machine, tiny):
    url, _ = stored_at_url
    remote = Remote(url)
    for name in ("report/index.html", "runs/broken/checkpoint.pt", "notes/ideas.txt"):
        remote.files.write(name, b"x")
    machine("second")
    other = tiny(recipe={"lr": 0.5})
    with StudyStore(url).opened(other, "hash", fresh=True):
        assert remote.files.list().keys() == {"study.toml", "notes/ideas.txt"}
    machine("first")
    store = StudyStore(fetch(url))
    assert store.run_names() == []
    assert store.study() == other


def test_another_recipe_is_refused_before_anything_is_written(stored_at_url, machine, tiny):
    url, _ = stored_at_url
    machine("second")
    store, written = StudyStore(url), []
    store.fetch()
    with every_write(written.append), pytest.raises(BadInput, match=f"^{url} holds runs with other settings"):
        store.opened(tiny(recipe={"lr": 0.5}), "hash").__enter__()
    assert written == []


def test_what_is_no_study_is_never_used(url, tiny):
    Remote(url).files.write("thesis.txt", b"years of work")
    for is_fresh in (False, True):
        with pytest.raises(BadInput, match=f"^{url} holds other files but no study"):
            StudyStore(url).opened(tiny(), "hash", fresh=is_fresh).__enter__()
    with pytest.raises(BadInput, match=f"^{url} holds no results"):
        load_results(url)


def test_a_deleted_study_is_written_again(stored_at_url, machine):
    url, study = stored_at_url
    store = StudyStore(url)
    (run_store,) = store.run_stores()
    with store.opened(study, "hash"):
        for name in store.remote.files.list():
            store.remote.files.delete(name)
        assert store.restore()
        run_store.write(run_store.read().changed(reason="after"))
    machine("second")
    assert load_results(url).runs["reason"].tolist() == ["after"]
    assert len(load_results(url).history) == 2


def test_a_report_and_an_index_are_pushed_and_fetched(stored_at_url, machine):
    url, _ = stored_at_url
    folder = fetch(url) / "report"
    for name in ("index.html", "figures/a.png", "figures/.a.part"):
        write_text(folder / name, name)
    push(folder)
    assert Remote(url).files.list("report").keys() == {"index.html", "figures/a.png"}
    (folder / "figures" / "a.png").unlink()
    write_text(folder / "figures" / "b.png", "b")
    push(folder)
    write_text(folder.parents[1] / "index.html", "cards")
    push_page(folder.parents[1])
    machine("second")
    fetched = fetch_all("memory://bucket")
    assert (fetched / "tiny" / "study.toml").exists()
    report = fetched / "tiny" / "report"
    visible = {file.relative_to(report).as_posix() for file in report.rglob("*") if file.is_file()}
    assert visible - {".remote.json"} == {"index.html", "figures/b.png"}
    assert fetch_file(Remote("memory://bucket").url / "index.html").read_text() == "cards"
    with pytest.raises(BadInput, match=r"^memory://bucket/none\.toml: there is no such file$"):
        fetch_file(Remote("memory://bucket").url / "none.toml")


def test_a_run_is_found_by_its_url_and_by_its_mirror(url, machine, tmp_path):
    store = StudyStore(url).run("resnet-8-s0-000000")
    assert store.location == f"{url}/runs/resnet-8-s0-000000"
    for location in (store.location, store.path):
        same = RunStore.at(location)
        assert (same.path, same.remote.url) == (store.path, url)
    assert RunStore.at(tmp_path).remote is None
    assert remote_of(tmp_path) is None
    assert remote_of(store.remote.mirror).url == url
    assert StudyStore(store.remote.mirror).location == url


def test_a_busy_run_is_seen_on_any_machine(stored_at_url, machine, monkeypatch):
    url, study = stored_at_url
    first, second = (run.run_id for run in study.runs())
    store = StudyStore(url)
    with store.run(first).locked():
        assert store.busy_runs([first, second]) == {first}
        machine("second")
        assert StudyStore(url).busy_runs([first, second]) == {first}
        assert StudyStore(url).run(first).is_locked()
    machine("first")
    assert store.busy_runs([first, second]) == set()
    for name in ("REFRESH", "POLL"):
        monkeypatch.setattr(f"depthbench.store.lease.{name}_SECONDS", 0.1)
    store.remote.files.write(f"runs/{first}/.lock", b"of a machine that has lost its power")
    assert store.busy_runs([first, second]) == set()


def test_shards_share_a_study_at_a_url(stored_at_url, machine, tiny):
    url, study = stored_at_url
    more = tiny(grid={"seed": [1]})
    with StudyStore(url).opened(study, "hash", shared=True):
        machine("second")
        with StudyStore(url).opened(more, "hash", shared=True):
            write_run(StudyStore(url), next(more.runs()))
    machine("third")
    stored = StudyStore(fetch(url)).study()
    assert {run.run_id for run in stored.runs()} >= {
        run.run_id for each in (study, more) for run in each.runs()
    }
    assert len(load_results(url).runs) == 2


def test_results_at_a_url_are_merged_into_a_directory_and_back(stored_at_url, machine, tiny, tmp_path):
    url, study = stored_at_url
    run, other = study.runs()
    unfinished = StudyStore(url).run(other.run_id)
    write_run(StudyStore(url), other, "interrupted")
    write_text(unfinished.checkpoint, "state")
    unfinished.push()
    machine("second")
    local = StudyStore(merge_results([url], tmp_path / "tiny"))
    assert local.run(run.run_id).is_finished()
    assert local.run(other.run_id).checkpoint.read_text() == "state"
    write_run(local, other)
    local.run(other.run_id).checkpoint.unlink()
    merge_results([tmp_path / "tiny"], url)
    machine("third")
    assert load_results(url).runs["status"].tolist() == ["done", "done"]
    assert not any("checkpoint" in name for name in Remote(url).files.list())
