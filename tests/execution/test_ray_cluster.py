"""Tests of what the Ray backend knows of a cluster."""

import socket
import sys

import pytest

from depthbench.errors import BadInput
from depthbench.execution.plan import make_plan
from depthbench.execution.ray_cluster import address_of, own_versions, problem_of_node, slots_of
from depthbench.execution.settings import Execution
from depthbench.paths import locate

ray = pytest.importorskip("ray")


def test_a_cluster_that_does_not_answer_is_refused_before_anything_is_written(tiny, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(BadInput, match=f"--address {address}: no cluster answers there"):
            make_plan(tiny(), Execution(tmp_path, backend="ray", address=address))
    with pytest.raises(BadInput, match="--address here: use HOST:PORT"):
        make_plan(tiny(), Execution(tmp_path, backend="ray", address="here"))
    with pytest.raises(BadInput, match="--address : use HOST:PORT"):
        make_plan(tiny(), Execution(tmp_path, backend="ray", address=""))
    assert list(tmp_path.iterdir()) == []


def test_an_address_in_the_environment_is_named_as_such(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "there")
    with pytest.raises(BadInput, match="RAY_ADDRESS=there: use HOST:PORT"):
        make_plan(tiny(), Execution(tmp_path, backend="ray"))


@pytest.mark.parametrize("address", ["", "local"])
def test_the_environment_can_ask_for_a_cluster_of_this_machine(tiny, tmp_path, monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    execution = Execution(tmp_path, backend="ray")
    make_plan(tiny(), execution)
    assert address_of(execution) is None


def test_without_ray_its_installation_is_named(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadInput, match=r"--on ray needs Ray: pip install 'depthbench\[ray\]'"):
        make_plan(tiny(), Execution(tmp_path, backend="ray"))


def test_what_a_node_lacks_is_named(tmp_path):
    file = tmp_path / "study.toml"
    assert problem_of_node(file, own_versions()).startswith(f"does not see {tmp_path}; give --results")
    file.touch()
    assert problem_of_node(file, own_versions()) is None
    problem = problem_of_node(file, own_versions() | {"torch": "1.0"})
    assert problem == f"has torch {own_versions()['torch']}, not 1.0; install the same version"


def test_a_node_that_cannot_read_the_results_at_a_url_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = locate(f"file://{tmp_path}/results/study.toml")
    assert problem_of_node(url, own_versions()) == f"cannot read the results: {url}: there is no such file"
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "study.toml").touch()
    assert problem_of_node(url, own_versions()) is None


@pytest.mark.parametrize(
    ("resources", "threads", "gpus", "slots"),
    [
        ({"CPU": 8.0}, 1, None, 8),
        ({"CPU": 8.0}, 3, None, 2),
        ({"CPU": 8.0}, 1, 1.0, 0),
        ({"CPU": 8.0, "GPU": 2.0}, 1, 0.25, 8),
        ({"CPU": 8.0, "GPU": 1.0}, 1, 0.25, 4),
        ({"CPU": 8.0, "GPU": 1.0}, 1, 0.4, 2),  # a GPU is not split between runs that need more than is left
        ({"CPU": 8.0, "GPU": 4.0}, 1, 2.0, 2),
    ],
)
def test_how_many_runs_a_node_trains_at_once(tiny, tmp_path, resources, threads, gpus, slots):
    execution = Execution(tmp_path, backend="ray", cpus_per_run=threads, gpus_per_run=gpus)
    assert slots_of(resources, make_plan(tiny(), execution)) == slots
