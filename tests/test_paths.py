from pathlib import Path

import pytest

from depthbench.errors import BadInput
from depthbench.paths import expand


def test_a_home_directory_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand("~/x") == tmp_path / "x"
    assert expand("a/~b") == Path("a/~b")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("~nosuchuser/x", "~nosuchuser is no user of this machine; write ./~nosuchuser for a file"),
        ("a\0b", r"path 'a\x00b': contains the character NUL; remove it"),
    ],
)
def test_a_path_that_no_file_can_have_is_refused(path, message):
    with pytest.raises(BadInput) as error:
        expand(path)
    assert message in str(error.value)
