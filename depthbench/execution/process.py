"""A Python process that runs a module of depthbench, and a pipe to it.

It is started by a command of its own rather than by multiprocessing, so that a caller's script needs no
`if __name__ == "__main__"`."""

import contextlib
import os
import signal
import sys
from multiprocessing.connection import Pipe
from multiprocessing.reduction import send_handle
from subprocess import DEVNULL, Popen, TimeoutExpired
from typing import Any

import psutil

# Settings of glibc. Keep freed memory: by default each large activation goes back to the system, which clears
# and maps it again at the next step. Use large pages: with small ones the processor looks up an address for
# every thousand numbers. Other C libraries ignore this.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}

# For processes whose runs compute activations twice. Freed segments fragment the heap. If large tensors begin
# at large pages, they fragment it less (ResNet-1202: 2.0 GB instead of 4.3 GB). Returning freed memory to the
# system avoids fragmentation (1.2 GB) but takes twice the time.
LARGE_PAGES = KEEP_MEMORY | {"THP_MEM_ALLOC_ENABLE": "1"}

# The resource tracker of multiprocessing releases the semaphores of killed processes. Its warning needs no
# action.
TRACKER = "from multiprocessing.resource_tracker import main"
NO_WARNING = "ignore::UserWarning:multiprocessing.resource_tracker"
CHILD = "depthbench.execution.child"
END_TIMEOUT = 30.0  # seconds


def worker_environment(recomputes: bool) -> dict[str, str]:
    """Return the environment variables of processes that train, by whether any run recomputes activations."""
    return LARGE_PAGES if recomputes else KEEP_MEMORY


class Process:
    """A process that calls `MODULE.main` with its end of the pipe, and computes with `threads` threads."""

    def __init__(self, module: str, threads: int, environment: dict[str, str] = KEEP_MEMORY):
        self.connection, remote = Pipe()
        thread_limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        warnings = {"PYTHONWARNINGS": ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), NO_WARNING)))}
        self._popen = Popen(
            [sys.executable, "-P", "-m", CHILD, module, str(remote.fileno()), str(os.getpid())],
            pass_fds=[remote.fileno()],
            process_group=0,  # Ctrl-C in a terminal reaches only the parent, which decides
            env=os.environ | thread_limits | warnings | environment,
            stdin=DEVNULL,
        )
        remote.close()  # so that our end of the pipe reports the death of the process

    def send(self, message: Any) -> None:
        """Send a message. If the process has died, the next `receive` says so."""
        with contextlib.suppress(OSError):
            self.connection.send(message)

    def send_descriptor(self, descriptor: int) -> None:
        """Send an open file. The process takes it with `recv_handle`, after the messages sent before it."""
        with contextlib.suppress(OSError):
            send_handle(self.connection, descriptor, self._popen.pid)

    def receive(self) -> Any:
        """Wait for the next message. Raises EOFError or OSError if the process has died."""
        return self.connection.recv()

    def end(self) -> None:
        """Close the pipe, which ends the process when it next reads from it, and wait for the end."""
        self.connection.close()
        try:
            self._popen.wait(END_TIMEOUT)
        except TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process and its children at once.

        Only the resource tracker ends by itself, after it has released the semaphores of the others."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGSTOP)  # it then starts no more children
            self._kill_children()
        self._popen.kill()
        self._popen.wait()

    def _kill_children(self) -> None:
        children = []
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self._popen.pid).children(recursive=True)
        for child in children:
            with contextlib.suppress(psutil.Error):  # a child can have ended by itself
                if TRACKER not in " ".join(child.cmdline()):
                    child.kill()

    def cause_of_death(self) -> str:
        """Return how the process ended, in words."""
        code = self._popen.wait()
        if code >= 0:
            return f"its process ended with exit code {code}"
        name = signal.Signals(-code).name
        return f"its process was killed ({name}{'; out of memory?' if name == 'SIGKILL' else ''})"

    @property
    def exited_normally(self) -> bool:
        """Whether the process ended by itself and without an error. Valid only once it has ended."""
        return self._popen.returncode == 0
