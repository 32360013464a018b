import errno
import multiprocessing
import os
import socket

import pytest

from depthbench.files import (
    NotToml,
    atomic,
    make_folder,
    read_regular,
    read_toml,
    remove_partial_files,
    write_text,
)


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail_half_way():
        with atomic(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), OSError(errno.EROFS, "x", "/a/.b.part")])
def test_an_error_of_the_disk_names_the_file(tmp_path, error):
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match=path.name) as raised, atomic(path):
        raise error
    assert raised.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_network_keeps_its_message(tmp_path):
    error = ConnectionResetError(errno.ECONNRESET, "reset")
    with pytest.raises(ConnectionResetError) as raised, atomic(tmp_path / "a.txt"):
        raise error
    assert raised.value.filename is None


def test_a_file_appears_complete_with_the_usual_permissions(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic(path) as temporary:
        temporary.write_text("all of it")
        assert not path.exists()
    assert path.read_text() == "all of it"
    plain = tmp_path / "plain"
    plain.write_text("")
    assert path.stat().st_mode == plain.stat().st_mode


def test_an_empty_directory_in_place_of_a_file_is_replaced_and_a_full_one_is_moved_aside(tmp_path):
    (tmp_path / "empty").mkdir()
    write_text(tmp_path / "empty", "text")
    assert (tmp_path / "empty").read_text() == "text"
    for number in (1, 2):
        write_text(tmp_path / "full" / "file", "kept")
        write_text(tmp_path / "full", "text")
        assert (tmp_path / "full").read_text() == "text"
        assert (tmp_path / f"full.moved-{number}" / "file").read_text() == "kept"
        (tmp_path / "full").unlink()


@pytest.mark.parametrize("make", [lambda path: path.write_text("kept"), lambda path: path.symlink_to("x")])
def test_a_file_or_a_broken_link_in_place_of_a_folder_is_moved_aside(tmp_path, make):
    make(tmp_path / "folder")
    make_folder(tmp_path / "folder")
    assert (tmp_path / "folder").is_dir()


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "a.toml").write_bytes(b'\xef\xbb\xbfname = "a"')
    assert read_toml(tmp_path / "a.toml") == {"name": "a"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"name = ", "Invalid value"),
        (b'name = "\xff"', "can't decode byte 0xff"),
        (b"x = " + 5000 * b"[" + 5000 * b"]", "nested too deeply"),
        (b"[" + 5000 * b"a." + b"a]", "nested too deeply"),
        (b"[x]\ny = {" + b"a = {" * 60 + b"}" * 61, "nested too deeply"),
        (b"steps = " + 5000 * b"9", "too many digits"),
    ],
)
def test_what_is_not_toml_is_refused_with_the_reason(tmp_path, content, reason):
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(NotToml, match=reason):
        read_toml(tmp_path / "a.toml")


def test_files_of_dead_processes_are_removed_and_no_others(tmp_path):
    dead = multiprocessing.get_context("fork").Process()
    dead.start()
    dead.join()
    with atomic(tmp_path / "a" / "mine.txt") as mine:
        assert f"-{os.getpid()}." in mine.name
        left = mine.with_name(mine.name.replace(f"-{os.getpid()}.", f"-{dead.pid}."))
        elsewhere = mine.with_name(left.name.replace(socket.gethostname(), f"{socket.gethostname()}2"))
        for file in (left, elsewhere):
            file.touch()
        remove_partial_files(tmp_path)
        assert (mine.exists(), left.exists(), elsewhere.exists()) == (True, False, True)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_only_regular_files_are_read(tmp_path, make):
    """A pipe without a writer and a device without an end would never return."""
    make(tmp_path / "a")
    with pytest.raises(OSError, match="Not a regular file"):
        read_regular(tmp_path / "a")
    (tmp_path / "b").write_bytes(b"content")
    assert read_regular(tmp_path / "b") == b"content"
