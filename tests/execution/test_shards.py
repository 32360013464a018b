import sys
from contextlib import redirect_stderr, redirect_stdout
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthbench import load_results
from depthbench.cli import terminal
from depthbench.cli.app import main
from depthbench.execution import process
from depthbench.execution.cost.order import estimate_cost
from depthbench.execution.plan import make_plan
from depthbench.execution.settings import Execution
from depthbench.execution.shards import shard_of
from depthbench.store.study_store import StudyStore
from depthbench.study.file import load_study
from tests.processes import SERVER, Forked

DEPTHS = st.lists(st.sampled_from([8, 14, 20, 32, 56, 110, 1202]), min_size=1, max_size=4, unique=True)
SEEDS = st.integers(1, 12)


def runs_of(depths, seeds, **study):
    grid = {"network": ["plain", "resnet"], "depth": depths, "seed": list(range(seeds))}
    return list(load_study(None, grid=grid, **study).resolve(1437, flips=False).runs())


def ids(runs):
    return [run.run_id for run in runs]


def load(runs):
    return sum(map(estimate_cost, runs))


@given(depths=DEPTHS, seeds=SEEDS, count=st.integers(1, 40), order=st.randoms())
def test_every_run_is_in_exactly_one_shard_whatever_the_order(depths, seeds, count, order):
    runs = runs_of(depths, seeds)
    shards = [shard_of(runs, index, count) for index in range(1, count + 1)]
    assert sorted(ids(run for shard in shards for run in shard)) == sorted(ids(runs))
    order.shuffle(runs)
    assert [ids(shard_of(runs, index, count)) for index in range(1, count + 1)] == [*map(ids, shards)]
    mean, dearest = load(runs) / count, max(map(estimate_cost, runs))
    assert max(map(load, shards)) <= mean + dearest * (1 + 1e-9)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1 or len(depths) > 1


@given(depths=st.lists(st.sampled_from([8, 14, 20, 32, 44]), min_size=3, max_size=7), count=st.integers(1, 3))
def test_the_largest_shard_costs_at_most_a_third_more_than_the_best_split(depths, count):
    run = runs_of([8], 1)[0]
    runs = [run.model_copy(update={"depth": depth, "seed": seed}) for seed, depth in enumerate(depths)]
    loads = [load(shard_of(runs, index, count)) for index in range(1, count + 1)]
    best = min(
        max(
            sum(estimate_cost(run) for run, chosen in zip(runs, split, strict=True) if chosen == shard)
            for shard in range(count)
        )
        for split in product(range(count), repeat=len(runs))
    )
    assert max(loads) <= best * (4 / 3 + 1e-9)


def test_a_plan_has_the_runs_of_its_shard_and_the_threads_of_the_study(tiny, tmp_path):
    study = tiny(grid={"seed": [0, 1, 2]})
    whole = make_plan(study, Execution(tmp_path, device="cpu"))
    plans = [make_plan(study, Execution(tmp_path, device="cpu", shard=(i, 6))) for i in (1, 2, 3, 4, 5, 6)]
    assert sorted(ids(run for plan in plans for run in plan.todo)) == sorted(ids(whole.todo))
    assert {(plan.jobs, plan.threads) for plan in plans} == {(1, whole.threads)}
    assert plans[1].notes[0] == "shard 2 of 6: 1 of the study's 6 runs"
    with whole.store.opened(whole.study, whole.data_hash):
        pass
    assert ids(make_plan(study, Execution(tmp_path, device="cpu", shard=(2, 6))).todo) == ids(plans[1].todo)
    beyond = make_plan(study, Execution(tmp_path, device="cpu", shard=(9, 9)))
    assert (beyond.todo, beyond.finished) == ((), ())


@pytest.mark.slow
def run_shard(arguments, output):
    """Run the command line in a process that has imported torch already."""
    process.Popen = Forked
    sys.argv = ["depthbench", *arguments]
    with output.open("w") as file, redirect_stdout(file), redirect_stderr(file):
        terminal.out.file = terminal.err.file = file
        main()


def test_shards_train_at_once_in_one_directory(tiny, tmp_path):
    """Two processes train different shards. The third has the shard of the second."""
    file = tmp_path / "study.toml"
    file.write_text(tiny(grid={"seed": [0, 1]}).to_toml())
    command = ["run", str(file), "--device", "cpu", "--jobs", "1", "--results", str(tmp_path), "--shard"]
    outputs = [tmp_path / f"output-{number}" for number in range(3)]
    processes = [
        SERVER.Process(target=run_shard, args=([*command, shard], output))
        for shard, output in zip(("1/2", "2/2", "2/2"), outputs, strict=True)
    ]
    for shard in processes:
        shard.start()
    for shard in processes:
        shard.join(180)
    printed = [output.read_text() for output in outputs]
    assert processes[0].exitcode == 0, printed[0]
    for shard, text in zip(processes[1:], printed[1:], strict=True):  # it waits for the other, up to 10 s
        assert shard.exitcode == 0 or "another process is writing to it" in text
    store = StudyStore(tmp_path / "tiny")
    assert load_results(store.path).runs.status.tolist() == ["done"] * 4
    assert all(run_store.is_finished() for run_store in store.run_stores())
    line = f"all runs of the study have finished; `depthbench report {store.path}`"
    assert any(line in text for text in printed)
    assert not (store.path / "report").exists()
