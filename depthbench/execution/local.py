"""Runs on this machine, several at once, each in a process that may die without harm to the others."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from depthbench.errors import Interrupted
from depthbench.execution.plan import Plan
from depthbench.store import describe
from depthbench.study import Run

TICK = 0.5  # seconds between looks at the clock, for the display

# Tell glibc to keep freed memory: by default it gives each large activation back to the system, which
# then clears and maps it again at the next step. Other C libraries take no notice.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 33)}


class Worker:
    """A process, our end of the pipe to it, and the run it is at."""

    def __init__(self, plan: Plan):
        self.connection, theirs = Pipe()
        threads = {name: str(plan.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "depthbench.execution.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            process_group=0,  # Ctrl-C in a terminal reaches the parent alone, which decides
            env=os.environ | threads | KEEP_MEMORY,
            stdin=subprocess.DEVNULL,
        )
        theirs.close()  # so that its death is our end of file
        self.run: Run | None = None
        setup = {"plugins": plan.study.plugins, "threads": plan.threads, "device": plan.device}
        setup |= {"data": plan.study.data, "data_dir": plan.data_dir, "data_hash": plan.data_hash}
        setup["keep_checkpoint"] = plan.study.keep_checkpoints
        self.tell(setup)

    def start(self, run: Run, plan: Plan) -> None:
        self.run = run
        self.tell((run, str(plan.store.run(run.run_id).path)))

    def tell(self, message: Any) -> None:
        """Send, and leave it to the end of file to say that nobody listens."""
        with contextlib.suppress(OSError):
            self.connection.send(message)

    def cause_of_death(self) -> str:
        """How the process ended, in words."""
        code = self.process.wait()
        if code >= 0:
            return f"its process ended with exit code {code}"
        name = signal.Signals(-code).name
        return f"its process was killed ({name}{'; out of memory?' if name == 'SIGKILL' else ''})"


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
                        worker.process.kill()
                for connection in wait(list(workers), TICK):
                    worker = workers[connection]
                    free = _listen(worker, plan, watch, told)
                    if free and waiting and not signals:
                        _give_next(worker, waiting, plan, watch)
                    elif worker.run is None:
                        worker.connection.close()  # it ends when it finds nobody there
                        worker.process.wait()
                        del workers[connection]
                watch.tick()
        finally:
            for worker in workers.values():
                worker.process.kill()
                worker.process.wait()
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
        kind, *content = worker.connection.recv()
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
