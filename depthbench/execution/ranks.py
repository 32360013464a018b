"""The processes that torchrun started. Rank 0 plans, stores and prints; the others follow it.

Rank 0 is an ordinary `depthbench` that trains with the backend `ddp`. The others ignore the command line.
They wait for a `Setup` for each plan, and then for the runs to train. Until the processes of a team are
connected for a run (training/distributed.py), they talk through torch's default group, whose messages may
wait for days, because rank 0 may be decoding a folder of images."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from depthbench.data.labelled import Labelled
from depthbench.data.load import default_data_dir, load_images
from depthbench.errors import BadInput, one_line
from depthbench.execution.backends.local import collect_signals
from depthbench.execution.settings import Execution
from depthbench.machine.device import resolve_device
from depthbench.machine.environment import cores_each
from depthbench.machine.launch import Launch, read_launch
from depthbench.machine.parent import SAVING_SECONDS, end_with_parent
from depthbench.plugins.loading import load_plugins
from depthbench.store.run_store import RunStore
from depthbench.study.model import Run, Study
from depthbench.training.mode import TrainingMode

if TYPE_CHECKING:
    from depthbench.training.distributed import Processes

T = TypeVar("T")

PATIENCE = timedelta(days=7)  # until rank 0 has planned a study or drawn a report
MINUTE = timedelta(minutes=1)
MEETING = timedelta(seconds=10)  # that processes have at least to find each other
SHORTEST_TIMEOUT = timedelta(minutes=30)  # of a message while a run trains, unless --stall-timeout is set

_connected = False  # whether this process belongs to torch's default group, with every other one in it
_team: "Processes | None" = None  # the newest one


@dataclass(frozen=True)
class Setup:
    """What the followers of a plan must know before its runs begin."""

    study: Study
    execution: Execution
    data_hash: str
    device: str
    runs: Sequence[Run]
    """Those to train."""


def is_connected() -> bool:
    """Return whether torchrun started this process and the others listen."""
    return _connected


@contextlib.contextmanager
def connected(launch: Launch) -> Iterator[None]:
    """Connect the processes that torchrun started. At the end, rank 0 dismisses the others."""
    end_with_parent(SAVING_SECONDS, os.getppid())
    # Without this, torch warns in every process about a plug-in's network that uses all its parameters.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # read when torch is imported
    import torch.distributed as dist

    global _connected
    dist.init_process_group("gloo", timeout=PATIENCE)
    _connected = True
    try:
        yield
    finally:
        if _connected and launch.rank == 0:
            with contextlib.suppress(RuntimeError):  # the others have ended
                tell(None)
        _connected = False


def disconnect() -> None:
    """Note that a process of the group is gone, so that nothing more can be sent to it."""
    global _connected
    _connected = False


def tell(setup: Setup | None) -> Setup | None:
    """Send `setup` from rank 0 to the others, and return it there. None dismisses them."""
    import torch.distributed as dist

    setups = [setup]
    dist.broadcast_object_list(setups, src=0)
    return setups[0]


def agree(problem: str | None) -> str | None:
    """Return the first problem that a process has with a setup, or None if all can train."""
    import torch.distributed as dist

    problems: list[str | None] = [None] * dist.get_world_size()
    dist.all_gather_object(problems, problem)
    return next(
        (f"on rank {rank}, {problem}" for rank, problem in enumerate(problems) if problem is not None), None
    )


def connect_team(device: str, execution: Execution, *, after_failure: bool = False) -> "Processes":
    """Return the team of all processes for the next runs. Plans share it, because each needs many files.

    after_failure: whether messages of a run that failed may be on their way, so that a new team is needed."""
    global _team
    import torch

    from depthbench.training.distributed import Processes

    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    timeout = timeout_of(execution)
    earlier = _team
    if (
        earlier is None
        or after_failure
        or (earlier.device, earlier.timeout) != (torch.device(device), timeout)
    ):
        _team = Processes(torch.device(device), timeout)
        if earlier is not None:
            earlier.close()
    assert _team is not None
    return _team


def timeout_of(execution: Execution) -> timedelta:
    """Return how long a process waits for a message of another one while a run trains.

    It is between 10 seconds, in which processes of a busy machine find each other, and 7 days."""
    minutes = execution.stall_timeout
    if minutes is None:
        return SHORTEST_TIMEOUT
    shortest, longest = MEETING / MINUTE, PATIENCE / MINUTE
    return timedelta(minutes=min(max(minutes, shortest), longest))


def follow(launch: Launch) -> int:
    """Train what rank 0 trains, until it dismisses this process. Return the exit code.

    Only an error that rank 0 cannot know is printed."""
    signals: list[int] = []
    with collect_signals(signals), connected(launch):
        try:
            while (setup := tell(None)) is not None:
                _follow_plan(setup, launch, signals)
        except RuntimeError as error:
            if not _is_of_a_message(error):
                raise
            return 1  # rank 0 has reported what happened, or was killed
        except _FailedAlone as failure:
            print(f"depthbench: rank {launch.rank}: {failure}", file=sys.stderr)
            return 1
    return 0


class _FailedAlone(Exception):
    """A run failed on this rank only. The other ranks still wait for its messages."""


def _is_of_a_message(error: RuntimeError) -> bool:
    from torch.distributed import DistError

    from depthbench.training.team import PeerLost

    return isinstance(error, PeerLost | DistError) or "/gloo/" in str(error)


def _follow_plan(setup: Setup, launch: Launch, signals: list[int]) -> None:
    images, problem = None, None
    for is_first in (True, False):
        if is_first == (launch.local_rank == 0):
            try:
                images = _prepare(setup)
            except BadInput as error:
                problem = str(error)
        if is_first:
            wait_for_turn()
    if agree(problem) is None:  # else rank 0 reports it
        assert images is not None
        _train_runs(setup, images, _device_of(setup, launch), signals=signals)


def wait_for_turn() -> None:
    """Wait until one process of each machine has downloaded and decoded the images."""
    import torch.distributed as dist

    dist.barrier()


def _device_of(setup: Setup, launch: Launch) -> str:
    """Return the device of this process: each has a GPU of its own."""
    return "cpu" if setup.device == "cpu" else f"cuda:{launch.local_rank}"


def _prepare(setup: Setup) -> Labelled:
    """Load the plug-ins and the images of a setup. Raises BadInput if this machine cannot train."""
    load_plugins(setup.study.plugins)
    for run in setup.runs:
        run.check_code()
    resolve_device(_device_of(setup, read_launch()))
    images = load_images(setup.study.data, setup.execution.data_dir or default_data_dir())
    if images.content_hash() != setup.data_hash:
        raise BadInput("the images differ from those of rank 0; give every machine the same ones")
    return images


def _train_runs(setup: Setup, images: Labelled, device: str, *, signals: list[int]) -> None:
    import torch

    from depthbench.training.loop import finish, train
    from depthbench.training.team import PeerLost

    parent, threads = os.getppid(), cores_each(read_launch().local_size)
    team = connect_team(device, setup.execution)
    none: tuple[Run, TrainingMode] | None = None
    while (start := team.broadcast(none)) is not None:
        run, mode = start
        torch.set_num_threads(threads)
        failure = None
        try:
            finish(
                train(
                    run,
                    images,
                    RunStore(Path(os.devnull)),  # never used: rank 0 stores the run
                    replace(mode, device=device),
                    data_hash=setup.data_hash,
                    should_stop=lambda: bool(signals) or os.getppid() != parent,
                    team=team,
                )
            )
        except PeerLost:
            raise
        except (Exception, SystemExit) as error:
            failure = error
        has_failed = team.meet(has_failed=failure is not None)
        if has_failed is None:
            raise _FailedAlone(_why_alone(run, failure))
        if has_failed:
            team = connect_team(device, setup.execution, after_failure=True)


def _why_alone(run: Run, failure: BaseException | None) -> str:
    """Return why this rank cannot go on with the others, in words."""
    if failure is None or (isinstance(failure, RuntimeError) and _is_of_a_message(failure)):
        return f"{run.run_id}: another rank does not answer, or was killed; rerun the command to resume"
    return f"{run.run_id}: {one_line(failure)}"
