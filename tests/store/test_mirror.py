from pathlib import Path

import pytest

from depthbench.errors import BadInput
from depthbench.paths import URL
from depthbench.store.mirror import mirror_of, shown, url_of


@pytest.mark.parametrize(
    "url", ["s3://bucket", "s3://bucket/folder/quick", "file:///tmp/results", "sftp://me@host:22/results"]
)
def test_a_mirror_knows_its_url(machine, url):
    mirror = mirror_of(URL(url))
    assert url_of(mirror) == url
    assert url_of(mirror / "runs" / "a") == f"{url}/runs/a"
    assert shown(mirror / "report") == f"{url}/report"
    assert mirror_of(URL(url)) == mirror


def test_other_paths_mirror_nothing(machine, tmp_path):
    mirror = mirror_of(URL("s3://bucket/quick"))
    for path in (tmp_path, Path("results"), mirror.parents[1], mirror.parents[2]):
        assert url_of(path) is None
        assert shown(path) == str(path)


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BadInput, match=r"^s3://b/x: its mirror .* cannot be written \(Not a directory\)"):
        mirror_of(URL("s3://b/x"))


def test_buckets_of_one_name_on_two_servers_have_two_mirrors(machine, monkeypatch):
    first = mirror_of(URL("s3://bucket/quick"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")
    second = mirror_of(URL("s3://bucket/quick"))
    assert first != second
    assert url_of(first) == url_of(second) == "s3://bucket/quick"
