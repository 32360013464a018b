import contextlib
import dataclasses

import pytest

from depthbench.analysis.frontier import frontiers
from depthbench.errors import BadInput, RunsFailed
from depthbench.events import RunEnded
from depthbench.execution.backends import BACKENDS
from depthbench.execution.frontier import find_frontier, search
from depthbench.execution.plan import make_plan
from depthbench.execution.run import execute
from depthbench.execution.settings import Execution
from depthbench.store.record import Record
from depthbench.store.results import load_results
from depthbench.store.study_store import StudyStore
from depthbench.study.model import Frontier
from depthbench.training.loop import finish, train
from depthbench.training.mode import TrainingMode
from tests.conftest import plugins_forgotten

SMALL = """
from torch import nn

def mine(depth, in_channels, num_classes):
    hidden = [nn.Linear(64, 64) for _ in range(depth - 1)]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, num_classes))

NETWORKS = {"mine": mine}
"""


@pytest.fixture
def here(monkeypatch):
    """Train runs in this process, because starting others takes seconds. test_local.py tests these."""

    def execute_here(plan, display):
        for run in plan.todo:
            store = plan.store.run(run.run_id)
            finish(train(run, plan.data, store, TrainingMode(), data_hash=plan.data_hash))

    monkeypatch.setattr("depthbench.execution.backends.local.execute", execute_here)


def find(study, folder):
    """Search the frontier of `study`. Return the networks and depths of each round, and the frontiers."""
    path = folder / study.name
    rounds = []
    for plan in search(study, path, lambda s: make_plan(s, Execution(folder, device="cpu", jobs=1))):
        rounds.append(sorted((run.network, run.depth) for run in plan.todo))
        execute(plan)
    return rounds, frontiers(load_results(path).runs, study.frontier.below)


def test_a_search_trains_its_runs_and_stores_its_bound(tiny, tmp_path, here):
    study = tiny(frontier={"below": 100.0, "deepest": 19})  # every run trains
    rounds, frontiers = find(study, tmp_path)
    assert rounds == [[("plain", 8), ("resnet", 8)], [("plain", 14), ("resnet", 14)]]
    assert frontiers[["network", "trains"]].to_numpy().tolist() == [["plain", 14], ["resnet", 14]]
    assert frontiers["fails"].isna().all()
    stored = StudyStore(tmp_path / "tiny").study()
    assert stored.frontier == Frontier(below=100.0, deepest=19)
    assert find(study, tmp_path)[0] == [[]]  # nothing is trained again
    with pytest.raises(BadInput, match=r"recipe\.lr"):  # results of another recipe are not used
        find(tiny(frontier={"below": 100.0, "deepest": 19}, recipe={"lr": 0.5}), tmp_path)


def test_a_search_is_connected_to_one_cluster_for_all_its_rounds(tiny, tmp_path, here, monkeypatch):
    calls = []

    @contextlib.contextmanager
    def connect(plan):
        calls.append([run.depth for run in plan.todo])
        yield
        calls.append("left")

    monkeypatch.setitem(BACKENDS, "local", dataclasses.replace(BACKENDS["local"], connect=connect))
    execution = Execution(tmp_path, device="cpu", jobs=1, backend="local")
    for _ in range(2):  # the second search has nothing to train
        find_frontier(tiny(), networks="plain", execution=execution, below=100.0, deepest=14)
    # The second round and each `execute` use the connection of the first round, which is left last.
    assert calls == [[8], [8], "left", [14], [14], "left", "left", "left"]


def test_find_frontier_stores_its_runs_in_a_study_of_their_own(tiny, tmp_path, here):
    study = tiny(grid={"network": ["resnet"], "depth": [20]})
    limits = {"below": 100.0, "deepest": 14}
    here_on_cpu = Execution(tmp_path, device="cpu", jobs=1)
    result = find_frontier(study, networks="plain", execution=here_on_cpu, **limits)
    assert (result.path, result.below) == (tmp_path / "frontier-tiny", 100.0)
    assert result.frontiers[["network", "seed", "trains"]].to_numpy().tolist() == [["plain", 0, 14]]
    assert result.summary[["network", "median", "open"]].to_numpy().tolist() == [["plain", 14, 1]]
    assert StudyStore(result.path).study().grid.depth == [8, 14]
    with pytest.raises(BadInput, match=r"frontier: below = 0: should be above 0"):
        find_frontier(study, below=0)
    with pytest.raises(BadInput, match=r"name = '../x': should be 1 to 100 letters"):
        find_frontier(study, name="../x")
    with pytest.raises(BadInput, match=r"name = 'aux': is the name of a device on Windows"):
        find_frontier(study, name="aux")
    with pytest.raises(BadInput, match="a search continues from stored runs: leave out `fresh`"):
        find_frontier(study, execution=Execution(tmp_path, fresh=True))
    with pytest.raises(BadInput, match="a search cannot be split"):
        find_frontier(study, execution=Execution(tmp_path, shard=(1, 2)))


def test_a_search_ends_at_a_network_that_does_not_train_and_reuses_stored_runs(tiny, tmp_path, here):
    grid = {"network": ["plain"]}
    rounds, frontiers = find(tiny(frontier={"below": 0.001, "deepest": 8}, grid=grid), tmp_path)
    assert rounds == [[("plain", 8)]]
    assert frontiers["trains"].isna().all()
    assert frontiers["fails"].tolist() == [8]
    rounds, frontiers = find(tiny(frontier={"below": 99.0, "deepest": 8}, grid=grid), tmp_path)
    assert rounds == [[]]
    assert frontiers["trains"].tolist() == [8]
    assert StudyStore(tmp_path / "tiny").study().frontier == Frontier(below=99.0, deepest=8)
    assert load_results(tmp_path / "tiny").runs["frontier.below"].tolist() == [99.0]


def test_a_maximum_below_the_shallowest_depth_is_refused(tiny, tmp_path):
    with pytest.raises(BadInput, match="--deepest 7: the shallowest plain network has depth 8"):
        find(tiny(frontier={"deepest": 7}), tmp_path)


def test_a_search_ends_if_its_runs_fail(tiny, tmp_path, failing_networks):
    grid = {"network": ["raises"], "depth": [1]}
    study = tiny(plugins=[failing_networks], options={"width": None}, grid=grid)
    with pytest.raises(BadInput, match="the runs that it needs next failed"):
        find(study.model_copy(update={"frontier": Frontier(deepest=3)}), tmp_path)
    with pytest.raises(RunsFailed, match=r"failed: raises-1-s0-\w+ \(RuntimeError: .*\); see .*error.txt"):
        find_frontier(study, deepest=3, execution=Execution(tmp_path, device="cpu", jobs=1))


def test_a_failure_that_could_not_be_stored_is_named(tiny, tmp_path, monkeypatch):
    """As on a full disk."""

    def fail(plan, display):
        for run in plan.todo:
            record = Record.of(run).changed(status="failed", reason="no space left for it")
            display.show(RunEnded(run, record))

    monkeypatch.setattr("depthbench.execution.backends.local.execute", fail)
    with pytest.raises(RunsFailed, match=r"failed: plain-8-s0-\w+ \(no space left for it\)$"):
        find_frontier(tiny(), networks="plain", deepest=8, execution=Execution(tmp_path, device="cpu"))


def test_runs_of_an_older_plug_in_are_not_reused(tiny, tmp_path, here):
    plugin = tmp_path / "mine.py"
    for comment in ("", "# now in another way"):
        plugin.write_text(SMALL + comment)
        with plugins_forgotten():
            study = tiny(
                plugins=[str(plugin)], options={"width": None}, grid={"network": ["mine"], "depth": [1]}
            )
            study = study.model_copy(update={"frontier": Frontier(below=100.0, deepest=1)})
            if comment:
                with pytest.raises(BadInput, match="another version of its plug-in: add --name NAME"):
                    find(study, tmp_path)
            else:
                assert find(study, tmp_path)[0] == [[("mine", 1)]]


def test_all_rounds_of_a_search_use_the_same_number_of_threads(tiny, tmp_path, monkeypatch):
    """A round with a single run does not get all cores, because sums over more threads round differently."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("depthbench.execution.sharing.usable_cores", lambda: 2)
    monkeypatch.setattr("depthbench.machine.environment.usable_cores", lambda: 2)
    grid = {"network": ["plain"], "seed": [0]}
    alone = make_plan(tiny(grid=grid), Execution(tmp_path, device="cpu"))
    of_a_search = make_plan(
        tiny(grid=grid, frontier={"below": 50.0}, name="search"), Execution(tmp_path, device="cpu")
    )
    assert (alone.threads, of_a_search.threads) == (2, 1)
