"""Runs on this machine, several at once, each in a process that may die without harm to the others."""

import contextlib
import signal
import threading
from collections import deque
from multiprocessing.connection import Connection, wait

from depthbench.errors import Interrupted
from depthbench.execution.plan import Plan
from depthbench.execution.process import Process
from depthbench.store import describe
from depthbench.study import Run

TICK = 0.5  # seconds between looks at the clock, for the display


class Worker(Process):
    """A process that trains, and the run it is at."""

    def __init__(self, plan: Plan):
        super().__init__("depthbench.execution.worker", plan.threads)
        self.run: Run | None = None
        setup = {"plugins": plan.study.plugins, "threads": plan.threads, "device": plan.device}
        setup |= {"data": plan.study.data, "data_dir": plan.data_dir, "data_hash": plan.data_hash}
        setup["keep_checkpoint"] = plan.study.keep_checkpoints
        self.tell(setup)

    def start(self, run: Run, plan: Plan) -> None:
        self.run = run
        self.tell((run, str(plan.store.run(run.run_id).path)))


def execute(plan: Plan, watch) -> None:
    """Train `plan.todo`, `plan.jobs` at once. Raises Interrupted once all have stopped after a signal."""
    waiting = deque(plan.todo)
    workers: dict[Connection, Worker] = {}
    signals: list[int] = []  # noted by the handler, heeded in the loop: a handler must not touch the pipes
    told = False
    with _signals_go_to(signals), watch:
        watch.begin(plan)
        try:
            while workers or (waiting and not signals):
                while waiting and not signals and len(workers) < plan.jobs:
                    worker = Worker(plan)
                    workers[worker.connection] = worker
                    _give_next(worker, waiting, plan, watch)
                if signals and not told:
                    watch.stopping()
                    for worker in workers.values():
                        worker.tell("stop")
                    told = True
                if len(signals) > 1:  # a second Ctrl-C: at once, with what was kept last
                    for worker in workers.values():
                        worker.kill()
                for connection in wait(list(workers), TICK):
                    worker = workers[connection]
                    free = _listen(worker, plan, watch, told)
                    if free and waiting and not signals:
                        _give_next(worker, waiting, plan, watch)
                    elif worker.run is None:
                        worker.end()
                        del workers[connection]
                watch.tick()
        finally:
            for worker in workers.values():
                worker.kill()
    if signals:
        raise Interrupted


def _give_next(worker: Worker, waiting: deque[Run], plan: Plan, watch) -> None:
    run = waiting.popleft()
    watch.started(run)
    worker.start(run, plan)


def _listen(worker: Worker, plan: Plan, watch, stopping: bool) -> bool:
    """Take one message. Whether the worker is free for another run."""
    run = worker.run
    try:
        kind, *content = worker.hear()
    except (EOFError, OSError):
        status, reason = "failed", worker.cause_of_death()
        if stopping:  # it was told to go, and what it last kept is what there is
            status, reason = "interrupted", None
        store = plan.store.run(run.run_id)
        record = (store.read() or describe(run)) | {"status": status, "reason": reason}
        with contextlib.suppress(OSError):  # a full disk is no reason to end the other runs
            store.write(record)
        watch.ended(run, status, reason, record)
        worker.run = None
        return False
    if kind == "progress":
        watch.progress(run, content[0])
        return False
    status, reason = content
    watch.ended(run, status, reason, plan.store.run(run.run_id).read())
    worker.run = None
    return status in ("done", "diverged")


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
