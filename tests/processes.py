"""Help for tests with processes."""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from multiprocessing.connection import Connection

import psutil

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

    def __init__(self, command, *, pass_fds, process_group, env, stdin):
        module = command[command.index("-m") + 1]
        assert (pass_fds, command[-1]) == ([int(command[-1])], str(pass_fds[0]))
        assert (process_group, stdin) == (0, subprocess.DEVNULL)
        remote = Connection(os.dup(pass_fds[0]))
        self._process = SERVER.Process(target=_run, args=(module, remote, dict(env)))
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


def _run(module, remote, environment):
    os.setpgid(0, 0)
    os.environ.clear()  # the server has the variables of the time when it was started
    os.environ.update(environment)
    descriptor = os.dup(remote.fileno())
    remote.close()
    sys.argv = [module, str(descriptor)]
    sys.modules.pop(module, None)  # `python -m` has not imported it either
    runpy.run_module(module, run_name="__main__")
