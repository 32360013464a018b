"""Two processes, as torchrun would start them, execute plans: rank 0 with the backend, rank 1 follows."""

import errno
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch.distributed as dist

from depthbench.data.images import Images
from depthbench.errors import BadInput, Interrupted
from depthbench.events import RowLogged, RunEnded, RunStarted, Silent, Stopping
from depthbench.execution import ranks
from depthbench.execution.plan import make_plan
from depthbench.execution.run import execute
from depthbench.execution.settings import Execution
from depthbench.machine.launch import read_launch
from depthbench.plugins.loading import load_plugin
from depthbench.probes import PROBES
from depthbench.store.results import load_results
from depthbench.study.file import load_study
from depthbench.training import checkpoint
from tests.conftest import TINY
from tests.failing_networks import WHERE
from tests.teams import results_of, start_pair

FAILING = Path(__file__).parents[1] / "failing_networks.py"


def network_of(event):
    return event.run.network if hasattr(event, "run") else None


class Recorder(Silent):
    """A display that keeps what happened, and sends SIGTERM to a rank at a step."""

    def __init__(self, stop_at=None, rank=0):
        self.events, self.stop_at, self.rank = [], stop_at, rank

    def show(self, event):
        self.events.append(event)
        if isinstance(event, RowLogged) and event.step == self.stop_at:
            _, process = ranks._team._peers[self.rank]
            os.kill(process, signal.SIGTERM)

    def names(self):
        kinds = (RunStarted, RunEnded, Stopping)
        return [
            (kind.__name__, network_of(event), getattr(event, "status", None))
            for event in self.events
            for kind in kinds
            if isinstance(event, kind)
        ]


def study_of(**overrides):
    study = {key: dict(value) if isinstance(value, dict) else value for key, value in TINY.items()}
    for key, value in overrides.items():
        study[key] = study.get(key, {}) | value if isinstance(value, dict) else value
    return load_study(None, **study)


def attempt(study, folder, display, **settings):
    """Execute a study and return what was shown, or the error."""
    try:
        plan = make_plan(study, Execution(folder / "results", device="cpu", data_dir=folder, **settings))
        execute(plan, display)
    except (BadInput, Interrupted) as error:
        return display.names(), f"{type(error).__name__}: {error}"
    return display.names(), None


def attempt_on_full_disk(study, folder):
    """Execute a study where the disk is full at the end of its first run."""
    remove = checkpoint.remove

    def fail_once(file):
        checkpoint.remove = remove
        raise OSError(errno.ENOSPC, "No space left on device", str(file))

    checkpoint.remove = fail_once
    return attempt(study, folder, Recorder())


def lead(folder):
    long = study_of(name="long", recipe={"steps": 40}, evaluate={"every": 40, "log_every": 1})
    failing = study_of(
        name="failing",
        grid={"network": ["raises", "small"], "depth": [1]},
        options={"width": None},
        plugins=[str(FAILING)],
    )
    load_plugin(FAILING)
    found = {
        "tiny": attempt(study_of(), folder, Recorder()),
        "again": attempt(study_of(), folder, Recorder()),
        "failing": attempt(failing, folder, Recorder()),
        "full": attempt_on_full_disk(study_of(name="full"), folder),
        "interrupted": attempt(long, folder, Recorder(stop_at=10)),
        "resumed": attempt(long, folder, Recorder()),
    }
    original = Images.content_hash
    Images.content_hash = lambda images: "other"  # as on a machine with other images
    found["other images"] = attempt(study_of(name="other"), folder, Recorder())
    Images.content_hash = original
    norm = PROBES["weight_norm"]
    PROBES["weight_norm"] = replace(norm, source="abc")  # as with a plug-in that rank 1 read later
    found["other code"] = attempt(study_of(name="code"), folder, Recorder())
    PROBES["weight_norm"] = norm
    found["groups"] = dist.get_world_size(), len(dist.distributed_c10d._world.pg_map)
    found["interrupted elsewhere"] = attempt(
        study_of(name="elsewhere", recipe={"steps": 40}, evaluate={"every": 40, "log_every": 1}),
        folder,
        Recorder(stop_at=10, rank=1),
    )  # the last one, because rank 1 stops all runs from now on
    return found


def execute_plans(rank, folder, port):
    variables = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": 2}
    variables |= {"TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in variables.items()})
    launch = read_launch()
    if rank:
        return ranks.follow(launch)
    with ranks.connected(launch):
        return lead(folder)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pair = start_pair(execute_plans, folder, port, connects=False)
    return folder, *results_of(pair, folder)


def test_all_runs_are_trained_once_and_in_the_order_of_the_plan(executed):
    folder, found, code = executed
    events = []
    for network in ("plain", "resnet"):
        events += [("RunStarted", network, None), ("RunEnded", network, "done")]
    assert found["tiny"] == (events, None)
    assert found["again"] == ([], None)
    assert load_results(folder / "results" / "tiny").runs["status"].tolist() == ["done", "done"]
    assert code == 0  # the follower was dismissed


def test_a_run_that_fails_on_every_rank_stops_no_other(executed):
    folder, found, _ = executed
    assert [event[1:] for event in found["failing"][0] if event[0] == "RunEnded"] == [
        ("raises", "failed"),
        ("small", "done"),
    ]
    runs = load_results(folder / "results" / "failing").runs.set_index("network")
    assert runs["reason"]["raises"] == f"RuntimeError: wrong shape {WHERE}"
    (trace,) = (folder / "results" / "failing" / "runs").glob("raises-*/error.txt")
    assert "wrong shape" in trace.read_text()


def test_a_full_disk_at_the_end_of_a_run_stops_no_other(executed):
    _, found, _ = executed
    events, error = found["full"]
    assert error is None
    assert [event[2] for event in events if event[0] == "RunEnded"] == ["failed", "done"]


def test_plans_share_a_team_and_a_failure_leaves_no_connections(executed):
    _, found, _ = executed
    assert found["groups"] == (2, 5)  # torch's default group and the four of a team


def test_a_signal_saves_the_run_on_every_rank_and_it_resumes(executed):
    _, found, _ = executed
    events, error = found["interrupted"]
    assert error.startswith("Interrupted")
    assert [event[0] for event in events] == ["RunStarted", "Stopping", "RunEnded"]
    assert events[-1][2] == "interrupted"
    assert [event[2] for event in found["resumed"][0] if event[0] == "RunEnded"] == ["done", "done"]


def test_a_signal_to_another_rank_stops_the_study(executed):
    folder, found, _ = executed
    events, error = found["interrupted elsewhere"]
    assert error.startswith("Interrupted")
    assert [event[0] for event in events] == ["RunStarted", "Stopping", "RunEnded"]
    assert events[-1][2] == "interrupted"
    runs = load_results(folder / "results" / "elsewhere").runs  # the second run did not start
    assert runs["status"].tolist() == ["interrupted"]
    assert 10 <= runs["step"].item() < 40


def test_bad_input_leaves_the_other_ranks_waiting_for_the_next_plan(executed):
    _, found, _ = executed
    assert found["other images"][1] == (
        "BadInput: on rank 1, the images differ from those of rank 0; give every machine the same ones"
    )


def test_a_rank_with_other_code_than_rank_0_trains_nothing(executed):
    _, found, _ = executed
    assert found["other code"] == (
        [],
        "BadInput: on rank 1, a plug-in was edited after the study was planned: rerun the command",
    )


def test_a_rank_whose_message_was_lost_says_so_in_words(tiny):
    run = next(tiny().runs())
    lost = RuntimeError("[/torch/third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer")
    says = f"{run.run_id}: another rank does not answer, or was killed; rerun the command to resume"
    assert ranks._why_alone(run, lost) == ranks._why_alone(run, None) == says
    assert ranks._why_alone(run, ValueError("wrong shape")) == f"{run.run_id}: ValueError: wrong shape"


@pytest.mark.parametrize(
    ("minutes", "seconds"), [(None, 1800), (5.0, 300), (1e-9, 10), (1e12, 604_800), (float("inf"), 604_800)]
)
def test_any_stall_timeout_is_one_that_torch_takes(minutes, seconds):
    assert ranks.timeout_of(Execution(stall_timeout=minutes)).total_seconds() == seconds
