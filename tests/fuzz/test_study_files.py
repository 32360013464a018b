"""Any text as a study file is refused in one line, or is a study that its own file describes."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthbench.errors import BadInput
from depthbench.study.file import load_study, parse_setting
from depthbench.study.model import Study
from tests.fuzz.values import as_toml, damaged, examples, mutations, places, texts, toml_values

VALID = {
    **Study().model_dump(mode="json", exclude_none=True),
    "name": "fuzzed",
    "grid": {"network": ["plain", "mine"], "depth": [8, 20], "seed": [0, 4]},
    "also": [{"network": ["resnet"], "depth": [8], "seed": [1]}],
    "variants": {"mine": {"of": "resnet", "options": {"norm": "none"}, "recipe": {"lr": 0.5}}},
    "frontier": {"below": 20.0, "deepest": 9},
    "verdict": {"margin": 1.0},
    "data": {"name": "digits", "val_fraction": 0.1},
    "recipe": {"steps": 12, "batch_size": 16, "optimizer_settings": {"dampening": 0.1}},
    "evaluate": {"robustness": ["noisy"], "every": 3},
    "plugins": [],
    "format": 1,
    "data_hash": "d",
}
keys = st.sampled_from(sorted({key for path in places(VALID) for key in path if isinstance(key, str)}))
trees = st.dictionaries(keys, toml_values | st.dictionaries(keys, toml_values, max_size=4), max_size=4)
contents = st.one_of(
    mutations(VALID, toml_values).map(as_toml),
    mutations(VALID, toml_values).map(as_toml),
    trees.map(as_toml),
    damaged(as_toml(VALID)),
    st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
).filter(lambda content: content is not None)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("studies") / "study.toml"


def is_one_line(error):
    assert len(str(error).splitlines()) == 1


def ids(study):
    return [run.run_id for run in islice(study.runs(), 50)]


@examples(short=100, long=10_000)
@given(content=contents)
def test_a_study_file_is_refused_in_one_line_or_describes_the_study(file, content):
    file.write_bytes(content)
    try:
        study = load_study(file)
    except BadInput as error:
        is_one_line(error)
        return
    file.write_text(study.to_toml(), encoding="utf-8")
    again = load_study(file)
    assert again == study
    assert ids(again) == ids(study)
    try:
        resolved = study.resolve(1437, flips=False, other_size=360)
    except BadInput as error:
        is_one_line(error)
        return
    file.write_text(resolved.to_toml(), encoding="utf-8")
    assert ids(load_study(file)) == ids(resolved)


@examples(short=100, long=10_000)
@given(setting=texts | st.builds("{}={}".format, keys | texts, texts))
def test_a_setting_is_refused_in_one_line_or_changes_the_study(setting):
    try:
        study = load_study("quick", **parse_setting(setting))
    except BadInput as error:
        is_one_line(error)
    else:
        assert isinstance(study, Study)


def test_the_document_that_is_mutated_is_valid(file):
    file.write_bytes(as_toml(VALID))
    assert load_study(file).name == "fuzzed"
