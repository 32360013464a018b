import pytest

from depthbench.errors import BadInput
from depthbench.store.study_store import StudyStore


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("plugins = []", "plugins = 3", "plugins = 3: should be a list in square brackets"),
        ('name = "tiny"', "name = 3", "name = 3: should be text in quotes"),
        ("depth = [", "depth = [0, ", r"grid.depth\[0\] = 0: should be at least 1"),
        ("seed = [", "seed = [[1], ", r"grid.seed\[0\] = \[1\]: should be a whole number"),
        ("every = 6", 'every = "often"', 'evaluate.every = "often": should be a whole number'),
    ],
)
def test_a_stored_study_with_a_part_of_the_wrong_type_is_refused(tiny, tmp_path, before, after, message):
    store = StudyStore(tmp_path)
    store.study_file.write_text(tiny().to_toml().replace(before, after))
    with pytest.raises(BadInput, match=f"study.toml: {message}"):
        store.table()


def test_keys_and_sections_of_other_versions_can_be_read(tiny, tmp_path):
    store = StudyStore(tmp_path)
    text = tiny().to_toml().replace("[grid]", "[grid]\nnewer = 1").replace('"relu"', '"newer"')
    store.study_file.write_text(f"{text}\n[later]\nkey = 1\n")
    assert store.table()["later"] == {"key": 1}
    store.study_file.write_text("format = 1\n")  # written by hand
    assert store.table() == {"format": 1}
