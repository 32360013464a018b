"""Help for tests with processes."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection

import psutil

from depthbench.execution import child, process

PRELOADED = ["torch._dynamo", "sklearn.model_selection", "pyarrow.parquet", "depthbench.training.loop"]
"""Modules that take a process of depthbench about 5 s of processor time to import."""

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload([*PRELOADED, "depthbench.execution.worker"])


def is_alive(pid):
    """Return whether a process exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def children():
    """Return the child processes that still run, without those that draw figures.

    Processes that draw end by themselves some seconds later."""
    return [child for child in multiprocessing.active_children() if not child.name.startswith("Loky")]


class Forked:
    """The part of `subprocess.Popen` that depthbench uses, with a process forked from a server.

    Some things need `real_processes`: the options of Python, variables that libraries read when they are
    imported (threads, memory), the order of imports, and output, which goes where that of the server goes."""

    context = SERVER

    def __init__(self, command, *, pass_fds, process_group, env, stdin):
        started, module, descriptor, parent = command[command.index("-m") + 1 :]
        assert started == process.CHILD
        assert (pass_fds, parent) == ([int(descriptor)], str(os.getpid()))
        assert (process_group, stdin) == (0, subprocess.DEVNULL)
        remote = Connection(os.dup(pass_fds[0]))
        self._process = self.context.Process(target=self._run, args=(module, remote, dict(env)))
        self._process.start()
        remote.close()

    @property
    def pid(self):
        return self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked process", timeout)
        return self._process.exitcode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    @staticmethod
    def _run(module, remote, environment):
        _run(module, remote, environment)


class ForkedHere(Forked):
    """A process forked from this one, which the server has forked."""

    context = multiprocessing.get_context("fork")

    @staticmethod
    def _run(module, remote, environment):
        for descriptor in map(int, os.listdir("/proc/self/fd")):
            if descriptor > 2 and descriptor != remote.fileno():  # such as the other end of its pipe
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        _run(module, remote, environment)


def start_forked_job(folder, **settings):
    """Do what `submitit.local.local.start_controller` does, with a process forked from a server."""
    job = ForkedJob(folder)
    job.start()
    return job


class ForkedJob(SERVER.Process):
    """A job of submitit's local executor. The process has no controller, which would queue it again."""

    def __init__(self, folder):
        super().__init__(target=_run_job, args=(folder, dict(os.environ)))

    def poll(self):
        return self.exitcode


def _run_job(folder, environment):
    from submitit.core.submission import process_job

    os.setpgid(0, 0)
    os.environ.clear()
    os.environ.update(environment, SUBMITIT_EXECUTOR="local", SUBMITIT_LOCAL_JOB_ID=str(os.getpid()))
    process.Popen = ForkedHere
    log = os.open(folder / f"{os.getpid()}_0_log.err", os.O_CREAT | os.O_WRONLY)
    os.dup2(log, 2)
    while not (folder / f"{os.getpid()}_submitted.pkl").exists():
        time.sleep(0.01)
    process_job(folder)


def _run(module, remote, environment):
    os.setpgid(0, 0)
    os.environ.clear()  # the server has the variables of the time when it was started
    os.environ.update(environment)
    descriptor = os.dup(remote.fileno())
    remote.close()
    sys.argv = [process.CHILD, module, str(descriptor), str(os.getppid())]
    child.main()
