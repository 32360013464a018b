import pytest

from depthbench.errors import BadInput
from depthbench.files import read_toml, write_text
from depthbench.store.study_store import StudyStore
from depthbench.store.watched import join
from depthbench.study.watched import WatchedRun


def run(network="net", depth=8, seed=0, **values):
    return WatchedRun(network=network, depth=depth, seed=seed, **values)


@pytest.fixture
def store(tmp_path):
    return StudyStore(tmp_path / "mine")


def test_runs_join_what_is_stored(store):
    for each in (run(), run(depth=14), run("other", residual=True)):
        join(store, each)
    table = read_toml(store.study_file)
    assert table["name"] == "mine"
    assert table["watched"] == {"net": {}, "other": {"residual": True}}
    assert [table["grid"], *table["also"]] == [
        {"network": ["net"], "depth": [8, 14], "seed": [0]},
        {"network": ["other"], "depth": [8], "seed": [0]},
    ]


def test_other_facts_about_a_network_are_refused(store):
    join(store, run(residual=True))
    with pytest.raises(BadInput, match=r"watched.net was \{'residual': True\} and is now \{\}"):
        join(store, run(seed=1))


def test_a_directory_of_other_files_is_refused(store):
    write_text(store.path / "notes.txt", "mine")
    with pytest.raises(BadInput, match=r"holds other files but no study"):
        join(store, run())
    assert not store.study_file.exists()


def test_a_name_that_cannot_be_stored_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r'name = "my results": should be 1 to 100 letters'):
        join(StudyStore(tmp_path / "my results"), run())
