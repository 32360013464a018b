import pandas as pd
import pytest

from depthbench.networks import NETWORKS
from depthbench.networks.family import Family
from depthbench.store.numbering import numbered_alike
from depthbench.store.results import load_results
from depthbench.store.study_store import StudyStore
from tests.store.conftest import write_run

REGISTERED = {"head": (1, "1"), "a": (2, "1"), "b": (3, "fc")}
USED = {"a": (1, "1"), "b": (2, "1"), "head": (3, "fc")}


def table(numbers, **columns):
    """Return two probed steps, whose values are ten times the step plus the place of the name."""
    rows = [
        {"step": step, "layer": number, "name": name, "stage": stage, "x": 10 * step + ord(name[0])}
        for step in (0, 5)
        for name, (number, stage) in sorted(numbers.items(), key=lambda item: item[1])
    ]
    return pd.DataFrame(rows).assign(**columns)


def store_of(tmp_path, study, tables):
    store = StudyStore(tmp_path)
    with store.opened(study, "hash"):
        for run, layers in zip(study.runs(), tables, strict=True):
            write_run(store, run).write_frame("layers", layers)
            record = store.run(run.run_id).read()
            order = layers.attrs.get("layer_order")
            store.run(run.run_id).write(record.changed(tables={}, layer_order=order))
    return store


@pytest.fixture
def study(tiny, monkeypatch):
    monkeypatch.setitem(NETWORKS, "mine", Family(dict))
    return tiny(grid={"network": ["mine"], "depth": [3], "seed": [0, 1]}, options={})


def test_seeds_of_older_versions_are_numbered_as_newer_ones(tmp_path, study):
    """A mean over seeds must not mix layers."""
    store_of(tmp_path, study, [table(REGISTERED), table(USED)])
    layers = load_results(tmp_path).layers
    assert layers["name"].tolist() == ["a", "b", "head"] * 4
    for _, rows in layers.groupby("seed"):
        pd.testing.assert_frame_equal(
            rows[list(table(USED))].reset_index(drop=True).astype(object), table(USED).astype(object)
        )


def test_rows_of_single_uses_follow_their_layer_and_selected_modules_stay(tmp_path, study):
    def with_others(numbers):
        whole = table(numbers, use=pd.NA, selected_by="")
        use = whole[whole["name"] == "a"].assign(name="a[0]", use=0)
        gate = whole[whole["name"] == "a"].assign(name="gate", selected_by="x", layer=1, stage="")
        return pd.concat([whole, use, gate]).sort_values("step", kind="stable").astype({"use": "Int64"})

    store_of(tmp_path, study, [with_others(REGISTERED), with_others(USED)])
    layers = load_results(tmp_path).layers
    assert layers["name"].tolist() == ["a", "b", "head", "a[0]", "gate"] * 4
    assert layers["layer"].tolist() == [1, 2, 3, 1, 1] * 4


def new(frame):
    """Mark a table as one of this version."""
    frame.attrs["layer_order"] = "use"
    return frame


def skipping(numbers, name):
    """Return the first probed step of a run that did not use a layer."""
    frame = table(numbers)
    return new(frame[frame["step"] == 0].assign(x=lambda rows: rows["x"].where(rows["name"] != name)))


@pytest.mark.parametrize(
    "tables",
    [
        [
            table(REGISTERED),
            new(table(USED)),
            skipping({"a": (1, "1"), "head": (2, "fc"), "b": (3, "1")}, "b"),
        ],
        [table(REGISTERED), new(table(USED)), table(REGISTERED)],
        [skipping(REGISTERED, "b"), table(USED), table(REGISTERED).assign(x=float("nan"))],
        [new(table(USED)), table({**USED, "a": (1, "fc"), "head": (3, "1")}), table(REGISTERED)],
    ],
    ids=["interrupted", "older version", "nothing measured", "other classifier"],
)
def test_the_run_that_shows_most_of_the_order_numbers_the_others(tmp_path, tiny, monkeypatch, tables):
    monkeypatch.setitem(NETWORKS, "mine", Family(dict))
    store_of(tmp_path, tiny(grid={"network": ["mine"], "depth": [3], "seed": [0, 1, 2]}, options={}), tables)
    layers = load_results(tmp_path).layers
    for name, (number, stage) in USED.items():
        rows = layers[layers["name"] == name]
        assert (set(rows["layer"]), set(rows["stage"])) == ({number}, {stage})
    values = layers[["seed", "step", "name", "x"]].sort_values(["seed", "step", "name"], ignore_index=True)
    stored = pd.concat([frame.assign(seed=seed) for seed, frame in enumerate(tables)])[values.columns]
    pd.testing.assert_frame_equal(
        values.astype(object), stored.sort_values(["seed", "step", "name"], ignore_index=True).astype(object)
    )


@pytest.mark.parametrize("other", [REGISTERED, {"a": (1, "1"), "c": (2, "1")}])
def test_runs_that_agree_or_have_other_layers_are_left_as_they_are(tmp_path, study, other):
    store_of(tmp_path, study, [table(REGISTERED), table(other)])
    layers = load_results(tmp_path).layers
    assert layers["name"].tolist() == [*table(REGISTERED)["name"], *table(other)["name"]]


def test_networks_of_depthbench_are_not_looked_at():
    layers = pd.DataFrame({"run_id": ["r"]})  # without the columns that would be read
    assert numbered_alike(layers, [{"run_id": "r", "family": "plain"}]) is layers
    assert numbered_alike(pd.DataFrame(), [{"run_id": "r", "family": "mine"}]).empty
