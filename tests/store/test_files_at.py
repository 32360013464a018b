import sys

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from depthbench.errors import BadInput
from depthbench.paths import URL
from depthbench.store import files_at
from depthbench.store.files_at import FilesAt


@pytest.fixture(params=["memory", "file"])
def files(request, tmp_path):
    """An empty folder of a store that writes whole files, and one of a file system."""
    yield FilesAt(URL("memory://files/here" if request.param == "memory" else f"file://{tmp_path}/here"))
    MemoryFileSystem.store.clear()


@pytest.fixture
def no_pauses(monkeypatch):
    """Record the pauses between attempts instead of making them."""
    pauses = []
    monkeypatch.setattr("time.sleep", pauses.append)
    return pauses


def test_files_are_listed_with_what_changes_when_they_change(files):
    assert files.list() == {}
    for name in ("study.toml", "runs/a/run.json", ".lock", "runs/a/.lock"):
        files.create(name, b"1")
    listed = files.list()
    assert listed.keys() == {"study.toml", "runs/a/run.json"}
    assert files.list("runs/a") == {"run.json": listed["runs/a/run.json"]}
    assert files.list(is_deep=False).keys() == {"study.toml", "runs"}
    assert files.list(is_deep=False)["study.toml"] == listed["study.toml"]
    files.write("study.toml", b"2")
    assert files.list()["study.toml"] != listed["study.toml"]
    assert files.list()["runs/a/run.json"] == listed["runs/a/run.json"]


def test_names_that_lead_out_of_a_folder_are_left_out():
    files = FilesAt(URL("memory://files/here"))
    files.write("runs/a/run.json", b"1")
    for path in ("/files/here/../x", "/files/here/runs/../../../x"):
        MemoryFileSystem.store[path] = MemoryFileSystem.store["/files/here/runs/a/run.json"]
    assert files.list().keys() == {"runs/a/run.json"}
    MemoryFileSystem.store.clear()


def test_only_one_process_can_create_a_file(files):
    assert files.create("lock", b"mine")
    assert not files.create("lock", b"yours")
    assert files.read("lock") == b"mine"
    files.delete("lock")
    files.delete("lock")
    assert files.read("lock") is None
    assert files.is_exclusive


def test_a_store_that_cannot_create_exclusively_is_known(files, monkeypatch):
    original = type(files._fs).pipe_file

    def without_modes(self, path, value, mode="overwrite", **settings):
        if mode == "create":
            raise NotImplementedError
        return original(self, path, value, **settings)

    monkeypatch.setattr(type(files._fs), "pipe_file", without_modes)
    assert files.create("lock", b"mine")
    assert not files.create("lock", b"yours")
    assert not files.is_exclusive


def test_a_killed_upload_leaves_the_old_file(tmp_path, monkeypatch):
    files, source = FilesAt(URL(f"file://{tmp_path}/here")), tmp_path / "source"
    source.write_bytes(b"old")
    files.upload(source, "a/checkpoint.pt")

    def half(self, source, target, **settings):
        with open(target, "wb") as file:
            file.write(b"ne")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "put_file", half)
        with pytest.raises(KeyboardInterrupt):
            files.upload(source, "a/checkpoint.pt")
    assert files.read("a/checkpoint.pt") == b"old"
    assert files.list() == {"a/checkpoint.pt": files.list("a")["checkpoint.pt"]}


def fails(times, error):
    """Return a method that raises `error` as many times as given, and then works."""
    left = [error] * times
    original = MemoryFileSystem.pipe_file

    def method(self, *values, **settings):
        if left:
            raise left.pop()
        return original(self, *values, **settings)

    return method


def test_a_request_is_repeated_until_the_network_is_back(monkeypatch, no_pauses):
    files = FilesAt(URL("memory://files/here"))
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", fails(4, ConnectionError("no route")))
    files.write("a", b"1")
    assert files.read("a") == b"1"
    assert no_pauses == [1, 2, 4, 8]


def test_a_file_that_cannot_be_read_is_not_taken_for_a_missing_one(files, monkeypatch, no_pauses):
    for name in ("one", "two"):
        files.create(name, name.encode())
    failures = [ConnectionError("reset"), ConnectionError("reset")]
    kind = type(files._fs)
    read = kind.cat_file

    def fail_first(self, path, **options):
        if path.endswith("/one") and failures:
            raise failures.pop()
        return read(self, path, **options)

    monkeypatch.setattr(kind, "cat_file", fail_first)
    assert files.read_many(["one", "two", "missing"]) == {"one": b"one", "two": b"two"}
    assert len(no_pauses) == 2


def test_a_request_that_keeps_failing_is_given_up_in_one_line(monkeypatch, no_pauses):
    monkeypatch.setitem(files_at.RETRY_SECONDS, "written", 3.0)
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", fails(99, ConnectionError("no\nroute")))
    monkeypatch.setattr("time.monotonic", lambda: float(sum(no_pauses)))
    with pytest.raises(
        OSError, match=r"^memory://files/here cannot be written \(ConnectionError: no route\)$"
    ):
        FilesAt(URL("memory://files/here")).write("a", b"1")
    assert no_pauses == [1, 2]


@pytest.mark.parametrize("error", [PermissionError("no"), FileNotFoundError("The bucket does not exist")])
def test_what_no_repetition_can_change_fails_at_once(monkeypatch, no_pauses, error):
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", fails(1, error))
    with pytest.raises(OSError, match="cannot be written"):
        FilesAt(URL("memory://files/here")).write("a", b"1")
    assert no_pauses == []


def test_a_url_that_cannot_be_written_is_bad_input(monkeypatch):
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", fails(1, PermissionError("Access Denied.")))
    with pytest.raises(BadInput) as error:
        FilesAt(URL("memory://files/here")).check_writable("probe")
    assert str(error.value) == (
        "memory://files/here cannot be written (PermissionError: Access Denied): use another --results"
    )


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(BadInput, match=r"^s3://b/x: .* not installed; run pip install 'depthbench\[s3\]'$"):
        FilesAt(URL("s3://b/x")).list()


def test_an_unknown_protocol_is_refused():
    with pytest.raises(BadInput, match=r"^foo://b/x: no such protocol; use a path, or a URL that fsspec"):
        FilesAt(URL("foo://b/x")).list()
