from pathlib import Path

import pytest

from depthbench.errors import BadInput
from depthbench.paths import LONGEST_NAME, URL, expand, locate, problem_of_name


def test_a_home_directory_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand("~/x") == tmp_path / "x"
    assert expand("a/~b") == Path("a/~b")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("~nosuchuser/x", "there is no user nosuchuser; write ./~nosuchuser for a file"),
        ("caf\udce9", "path caf\ufffd: its bytes are not UTF-8; rename the file or folder"),
        ("a\0b", r"path 'a\x00b': contains a NUL character; remove it"),
        ("a" * 5000, f"path {'a' * 40}...: is too long for the file system"),
    ],
)
def test_a_path_that_no_file_can_have_is_refused(path, message):
    with pytest.raises(BadInput) as error:
        expand(path)
    assert message in str(error.value)


def test_a_relative_path_in_a_folder_that_is_not_utf8_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(BadInput, match="caf\ufffd/results: its bytes are not UTF-8"):
        expand("results")
    assert expand(tmp_path) == tmp_path


@pytest.mark.parametrize(
    "name", ["plain", "my net", "größe-2", "a.b", "a" * LONGEST_NAME, "console", "com10x"]
)
def test_names_that_can_be_a_part_of_a_file_name(name):
    assert problem_of_name(name) is None


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            ".",
            "..",
            ".hidden",
            "a/b",
            "../../../outside",
            "a\\b",
            "C:x",
            "a\0b",
            "a\nb",
            "a.",
            "a ",
            "-a",
        ),
        *("con", "NUL.txt", "lpt1", "a" * (LONGEST_NAME + 1), "ö" * 60, "caf\udce9", 'a"b', "a*", "a,b"),
    ],
)
def test_names_that_act_as_paths_or_cannot_be_stored(name):
    assert problem_of_name(name)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s3://bucket/a/", "s3://bucket/a"),
        ("s3://bucket//a/./b", "s3://bucket/a/b"),
        (Path("s3://bucket/a"), "s3://bucket/a"),  # a Path has only one slash
        ("file:///tmp/a", "file:///tmp/a"),
        (Path("file:///tmp/a"), "file:///tmp/a"),
        ("memory://a", "memory://a"),
    ],
)
def test_a_url_is_kept_as_one(path, expected):
    located = locate(path)
    assert isinstance(located, URL)
    assert located == locate(located) == expected
    assert located / "quick" == f"{expected}/quick"
    assert (located / "quick").name == "quick"


@pytest.mark.parametrize("path", ["results/quick", "/tmp/a", "a:b/c", "s3:/a", "~/x", Path("a"), "C:/"])
def test_other_paths_are_paths(path):
    assert locate(path) == expand(path)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://", "URL s3://: names no directory; write e.g. s3://bucket/folder"),
        ("s3:///quick", "URL s3:///quick: names no directory"),  # no bucket
        ("s3://bucket/../x", "URL s3://bucket/../x: names no directory"),
        ("sftp://me:secret@host/x", "URL of sftp: contains a password; store it in fsspec's configuration"),
        ("s3://b/caf\udce9", "contains bytes that no name can have"),
    ],
)
def test_a_url_that_names_no_directory_is_refused(url, message):
    with pytest.raises(BadInput) as error:
        locate(url)
    assert message in str(error.value)
    assert "secret" not in str(error.value)
