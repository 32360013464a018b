"""A task of the Ray backend: the training of one run in a process of the cluster.

A task gets its run when it starts, not when it is submitted. A run whose node died can so start before those
that have not begun, whatever the order in which Ray starts tasks."""

import contextlib
import os
import shutil
import signal
import socket
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from depthbench.data.labelled import Labelled
from depthbench.data.load import load_images
from depthbench.data.settings import Data
from depthbench.errors import BadInput
from depthbench.events import Alive, Event, RunEnded
from depthbench.execution.messages import StartRun, Stop, WorkerSetup
from depthbench.execution.ray_cluster import temporary_folder
from depthbench.execution.worker import Worker
from depthbench.plugins.loading import Plugin
from depthbench.study.model import Run

POLL_SECONDS = 0.5  # between two checks of a task whether it should stop


@dataclass(frozen=True)
class Taken:
    """A task took a run, which it now trains."""

    task: int
    """The number that the submitting process gave to the task."""
    run: Run


class Mailbox:
    """An actor that gives runs to tasks, passes on their events, and asks them to stop."""

    def __init__(self, starts: Iterable[StartRun]) -> None:
        self._waiting = deque(starts)
        self._events: list[Event | Taken] = []
        self._should_stop = False

    def put_back(self, start: StartRun) -> None:
        """Give this run to a task before all others that wait."""
        self._waiting.appendleft(start)

    def take_run(self, task: int) -> StartRun | None:
        """Return the run that a task trains, or None if no run waits or all should stop."""
        if self._should_stop or not self._waiting:
            return None
        start = self._waiting.popleft()
        self._events.append(Taken(task, start.run))
        return start

    def put(self, event: Event) -> None:
        self._events.append(event)

    def take(self) -> list[Event | Taken]:
        """Return the events that have arrived since the last call."""
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """Ask every task to save its run and end."""
        self._should_stop = True

    def should_stop(self) -> bool:
        return self._should_stop


@dataclass(frozen=True)
class Job:
    """What the tasks of a study share."""

    setup: WorkerSetup
    """Without plug-ins. A task writes those to files of its node first."""
    plugins: tuple[Plugin, ...]
    data: Data
    data_dir: Path
    """Where a node reads images that are not in the object store."""


_has_failed = False
"""Whether a run failed in this process, which can affect other runs in it."""


class Line:
    """The connection of a worker in a Ray task to the submitting process. It starts one run."""

    def __init__(self, start: StartRun, mailbox: Any):
        self.messages = deque([start])
        self.run, self.mailbox = start.run, mailbox
        self.is_reading = False
        """Whether this process reads images, which is no stall, however long it takes."""
        self.has_ended = threading.Event()
        """Whether the run has ended, or should."""
        threading.Thread(target=self._watch, daemon=True).start()

    def send(self, event: Event, /) -> None:
        import ray

        delivery = self.mailbox.put.remote(event)
        if isinstance(event, RunEnded):
            ray.get(delivery)  # before the task ends
            self.has_ended.set()

    def recv(self) -> Any:
        if self.messages:
            return self.messages.popleft()
        self.has_ended.wait()
        return Stop()

    def poll(self) -> bool:
        return bool(self.messages) or self.has_ended.is_set()

    def _watch(self) -> None:
        """Check from time to time whether the run should stop, and say that reading images goes on."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError):  # the submitting process has ended
            while not self.has_ended.wait(POLL_SECONDS):
                if ray.get(self.mailbox.should_stop.remote()):
                    self.has_ended.set()
                elif self.is_reading:
                    self.mailbox.put.remote(Alive(self.run, 0, 0.0))
        self.has_ended.set()


def train_one(job: Job, images: Labelled | None, task: int, mailbox: Any) -> None:
    """Train the next run of the mailbox in this process, if one waits, and send its events to the mailbox.

    images: None if they stay in files, which this node then reads. task: the number of this task."""
    global _has_failed
    if _has_failed:
        os._exit(1)  # before it takes a run; another task then starts in another process
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C can reach this process too, but the parent decides
    # ray.get would lend the cores of this task to another one while it waits
    start: StartRun | None = mailbox.take_run.remote(task).future().result()
    if start is None:
        return
    line = Line(start, mailbox)

    def read() -> Labelled:
        if images is not None:
            return images
        line.is_reading = True
        try:
            return _images_here(job)
        finally:
            line.is_reading = False

    with plugin_files(job.plugins) as plugins:
        worker = Worker(line, replace(job.setup, plugins=plugins), read)
        worker.serve()
    _has_failed = worker.inbox.has_failed


plugin_folder = cache(temporary_folder)
"""The folder of this process. A plug-in counts as loaded only at the path from which it was loaded."""


@contextlib.contextmanager
def plugin_files(plugins: tuple[Plugin, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the paths of files of this node with the plug-ins. They are the same for each run of a process.

    The files are removed after the run, because Ray ends its processes without their exit handlers."""
    if not plugins:
        yield ()
        return
    folder = Path(plugin_folder("plugins"))
    folder.mkdir(mode=0o700, exist_ok=True)  # the run before has removed it
    try:
        yield tuple(str(plugin.write(folder / str(number))) for number, plugin in enumerate(plugins))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _images_here(job: Job) -> Labelled:
    """Return the images as this node reads them. Raises BadInput if they differ from those of the plan."""
    images = load_images(job.data, job.data_dir)
    if images.content_hash() != job.setup.data_hash:
        raise BadInput(
            f"{job.data.path or job.data.name}: the images on {socket.gethostname()} differ from those of "
            "the machine that started the study; give every node the same ones"
        )
    return images
