"""Two processes that train one run together, for tests."""

import os
import pickle
import traceback
from datetime import timedelta

import torch
import torch.distributed as dist

from depthbench.store.run_store import RunStore
from depthbench.training import trainer
from depthbench.training.building import build_network
from depthbench.training.distributed import Processes
from depthbench.training.loop import finish, train
from depthbench.training.mode import TrainingMode
from tests.processes import SERVER

SECONDS = 120  # that a process may take


def start_pair(check, folder, *arguments, connects=True):
    """Call `check(team, folder, *arguments)` in two processes, and return them. See `results_of`.

    connects: whether they are a team. Else `check` gets the rank in place of the team."""
    folder.mkdir(parents=True, exist_ok=True)
    run = _run if connects else _run_apart
    pair = [SERVER.Process(target=run, args=(check, folder, rank, *arguments)) for rank in range(2)]
    for process in pair:
        process.start()
    return pair


def results_of(pair, folder):
    """Return what `check` returned in each rank. Raises AssertionError with the traceback if one failed."""
    for process in pair:
        process.join(SECONDS)
        assert process.exitcode is not None, "a process hangs"
    failures = [file.read_text() for file in sorted(folder.glob("failed-*"))]
    assert not failures, "\n".join(failures)
    return [pickle.loads((folder / f"result-{rank}").read_bytes()) for rank in range(2)]


def _run(check, folder, rank, *arguments):
    def connect_and_check(rank, folder, *arguments):
        store = dist.FileStore(str(folder / "meeting"), 2)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
        return check(Processes(torch.device("cpu"), timedelta(seconds=30)), folder, *arguments)

    _run_apart(connect_and_check, folder, rank, *arguments)


def _run_apart(check, folder, rank, *arguments):
    torch.set_num_threads(1)
    try:
        result = check(rank, folder, *arguments)
        (folder / f"result-{rank}").write_bytes(pickle.dumps(result))
    except BaseException:
        (folder / f"failed-{rank}").write_text(traceback.format_exc())
    finally:
        os._exit(0)  # a group that has lost a process cannot be left in an orderly way


def build_in_float64(family, run, images):
    """Build a network that computes in float64."""
    network = build_network(family, run, images).double()
    if run.data.is_sequences:
        return network  # tokens stay whole numbers
    network.register_forward_pre_hook(lambda module, inputs: (inputs[0].double(),))
    return network


class InFloat64:
    """A context in which runs are trained in float64."""

    def __enter__(self):
        trainer.build_network = build_in_float64

    def __exit__(self, *error):
        trainer.build_network = build_network


def train_run(run, images, folder, recompute=False, **options):
    """Train a run and return its record. Its directory is named after it."""
    store = RunStore(folder / run.run_id)
    mode = TrainingMode(recompute=recompute)
    return finish(train(run, images, store, mode, data_hash="hash", **options))
