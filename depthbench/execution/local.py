"""Runs on this machine, several at once, each in a process that may die without harm to the others."""

import contextlib
import pickle
import signal
import tempfile
import threading
from collections import deque
from multiprocessing.connection import Connection, wait
from pathlib import Path

from depthbench.errors import Interrupted
from depthbench.execution.plan import Plan
from depthbench.execution.process import Process, worker_environment
from depthbench.store.record import describe
from depthbench.study.model import Run

TICK = 0.5  # seconds between looks at the clock, for the display


class Worker(Process):
    """A process that trains, and the runs it is at."""

    def __init__(self, plan: Plan, images: Path):
        environment = worker_environment(bool(plan.recompute))
        super().__init__("depthbench.execution.worker", plan.threads, environment)
        self.runs: dict[str, Run] = {}
        self.is_ending = False  # after a failure: it takes no more runs
        setup = {"plugins": plan.study.plugins, "threads": plan.threads, "device": plan.device}
        setup |= {"images": str(images), "data_hash": plan.data_hash}
        setup |= {"keep_checkpoint": plan.study.keep_checkpoints}
        setup |= {"step": plan.execution.step_mode, "recompute": plan.recompute}
        setup |= {"is_streamed": plan.images.are_streamed}  # not settled anew where less is free later
        self.tell(setup)

    def start(self, run: Run, plan: Plan) -> None:
        self.runs[run.run_id] = run
        self.tell((run, str(plan.store.run(run.run_id).path)))


def execute(plan: Plan, watch) -> None:
    """Train `plan.todo`, `plan.jobs` at once. Raises Interrupted once all have stopped after a signal."""
    waiting = deque(plan.todo)
    workers: dict[Connection, Worker] = {}
    signals: list[int] = []  # noted by the handler, heeded in the loop: a handler must not touch the pipes
    told = False
    with _signals_go_to(signals), tempfile.TemporaryDirectory(prefix="depthbench-") as folder, watch:
        images = Path(folder) / "images"
        with images.open("wb") as file:  # read once, and hashed once, for all processes
            pickle.dump(plan.data, file, protocol=pickle.HIGHEST_PROTOCOL)
        watch.begin(plan)
        try:
            while workers or (waiting and not signals):
                if not signals:
                    _share_out(waiting, workers, plan, images, watch)
                if signals and not told:
                    watch.stopping()
                    for worker in workers.values():
                        worker.tell("stop")
                    told = True
                if len(signals) > 1:  # a second Ctrl-C: at once, with what was kept last
                    for worker in workers.values():
                        worker.kill()
                for connection in wait(list(workers), TICK):
                    _listen(workers[connection], workers, waiting, plan, watch, told)
                for worker in list(workers.values()):
                    if not worker.runs and (worker.is_ending or told or not waiting):
                        worker.end()
                        del workers[worker.connection]
                watch.tick()
        finally:
            for worker in workers.values():
                worker.kill()
    if signals:
        raise Interrupted


def _share_out(
    waiting: deque[Run], workers: dict[Connection, Worker], plan: Plan, images: Path, watch
) -> None:
    """Give waiting runs to workers that have a place free, or to new ones, up to `plan.jobs` in all."""
    while waiting and sum(len(worker.runs) for worker in workers.values()) < plan.jobs:
        worker = next((w for w in workers.values() if not w.is_ending and len(w.runs) < plan.lanes), None)
        if worker is None:
            worker = Worker(plan, images)
            workers[worker.connection] = worker
        run = waiting.popleft()
        watch.started(run)
        worker.start(run, plan)


def _listen(
    worker: Worker,
    workers: dict[Connection, Worker],
    waiting: deque[Run],
    plan: Plan,
    watch,
    stopping: bool,
) -> None:
    """Take one message of `worker`; where it has died, take it off `workers`."""
    try:
        kind, run_id, *content = worker.hear()
    except (EOFError, OSError):
        del workers[worker.connection]
        _bury(worker, waiting, plan, watch, stopping)
        return
    if kind == "progress":
        watch.progress(worker.runs[run_id], content[0])
        return
    status, reason = content
    run = worker.runs.pop(run_id)
    worker.is_ending |= status == "failed"
    if status == "interrupted" and not stopping:  # for the failure of another run in its process
        waiting.appendleft(run)
        return
    watch.ended(run, status, reason, plan.store.run(run_id).read())


def _bury(worker: Worker, waiting: deque[Run], plan: Plan, watch, stopping: bool) -> None:
    """Settle what becomes of the runs of a worker that has ended."""
    cause = worker.cause_of_death()
    worker.connection.close()
    for run in worker.runs.values():
        if worker.is_ending and worker.ended_well and not stopping:
            waiting.appendleft(run)  # it was not begun when another run failed
            continue
        status, reason = "failed", cause
        if stopping:  # it was told to go, and what it last kept is what there is
            status, reason = "interrupted", None
        store = plan.store.run(run.run_id)
        record = (store.read() or describe(run)) | {"status": status, "reason": reason}
        with contextlib.suppress(OSError):  # a full disk is no reason to end the other runs
            store.write(record)
        watch.ended(run, status, reason, record)


@contextlib.contextmanager
def _signals_go_to(signals: list[int]):
    """Ctrl-C and SIGTERM are added to `signals` inside. A thread that is not the main one cannot take any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    old = {number: signal.signal(number, lambda number, frame: signals.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
