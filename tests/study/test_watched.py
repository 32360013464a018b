import pytest

from depthbench.errors import BadInput
from depthbench.files import parse_toml
from depthbench.store.record import Record
from depthbench.study.file import build
from depthbench.study.stored import StoredStudy
from depthbench.study.watched import WatchedRun, WatchedStudy


def run(**values):
    return build(WatchedRun, {"network": "net", "depth": 8, "seed": 0} | values, "watch")


def test_the_run_id_depends_on_network_depth_and_seed_only():
    assert run().run_id == run(classes=10, steps=5, data="blobs").run_id == "net-8-s0-220e6a"
    assert len({run().run_id, run(depth=9).run_id, run(seed=1).run_id, run(network="ten").run_id}) == 4


def test_only_what_is_stated_is_stored():
    record = Record.of(run())
    assert record.is_watched
    assert record.run.keys() == {"network", "depth", "seed", "watched", "data", "probe"}
    assert record.run["watched"] == {}
    assert Record.of(run(residual=True)).run["watched"] == {"residual": True}
    assert record.family == "net"


def test_chance_error_follows_from_the_classes():
    assert run().chance_error is None
    assert run(classes=4).chance_error == 75


def test_a_study_can_be_read_as_a_stored_one():
    study = build(WatchedStudy, WatchedStudy.values_of(run(residual=False), "mine"), "watch")
    stored = build(StoredStudy, parse_toml(study.to_toml()), "study.toml")
    assert stored.watched["net"].residual is False
    assert stored.recipe == {}
    assert stored.grid.depth == [8]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"network": "plain"}, r"is the name of a network of depthbench"),
        ({"residual": True, "twin": "net"}, r"a network is not its own twin"),
        ({"steps": 0}, r"steps = 0: should be at least 1"),
    ],
)
def test_impossible_values_are_refused(values, message):
    with pytest.raises(BadInput, match=message):
        run(**values)
