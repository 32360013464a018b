"""A Python process that runs a module of ours, and our end of a pipe to it.

Started by its own command, not through multiprocessing's spawning, so that a caller's script needs no
`if __name__ == "__main__"`."""

import contextlib
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection, Pipe
from typing import Any

import psutil

# Tell glibc to keep freed memory: by default it gives each large activation back to the system, which
# then clears and maps it again at the next step. And to ask for large pages: with small ones the processor
# looks up an address for every thousand numbers. Other C libraries take no notice.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}

# For processes whose runs compute activations twice: large pages. Freed segments leave a heap full of holes,
# and large tensors that begin at large pages leave half as many (ResNet-1202: 2.0 GB instead of 4.3 GB).
# Returning freed memory to the system leaves none (1.2 GB) but takes twice the time.
LARGE_PAGES = KEEP_MEMORY | {"THP_MEM_ALLOC_ENABLE": "1"}

# Gives back the semaphores of processes that were killed, and warns of it, though nothing is to be done.
TRACKER = "from multiprocessing.resource_tracker import main"
NO_WARNING = "ignore::UserWarning:multiprocessing.resource_tracker"
PATIENCE = 30.0  # seconds that a process may take to end


def worker_environment(recomputes: bool) -> dict[str, str]:
    """Return the environment variables of processes that train, by whether any run recomputes activations."""
    return LARGE_PAGES if recomputes else KEEP_MEMORY


class Process:
    """`python -m module FD`, FD its end of the pipe, with `threads` for its sums and products."""

    def __init__(self, module: str, threads: int, environment: dict[str, str] = KEEP_MEMORY):
        self.connection, theirs = Pipe()
        sums = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        warnings = {"PYTHONWARNINGS": ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), NO_WARNING)))}
        self._popen = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            process_group=0,  # Ctrl-C in a terminal reaches the parent alone, which decides
            env=os.environ | sums | warnings | environment,
            stdin=subprocess.DEVNULL,
        )
        theirs.close()  # so that its death is our end of file

    def tell(self, message: Any) -> None:
        """Send, and leave it to the end of file to say that nobody listens."""
        with contextlib.suppress(OSError):
            self.connection.send(message)

    def hear(self) -> Any:
        """The next message. Raises EOFError or OSError where the process has died."""
        return self.connection.recv()

    def end(self) -> None:
        """Close the pipe, upon which the process ends when it next listens, and wait for that."""
        self.connection.close()
        try:
            self._popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once, and the processes that it started; but the one that gives back what all of them
        leave, which then ends by itself."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGSTOP)  # it starts no more of them, and does not heed their end
            self._kill_children()
        self._popen.kill()
        self._popen.wait()

    def _kill_children(self) -> None:
        children = []
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self._popen.pid).children(recursive=True)
        for child in children:
            with contextlib.suppress(psutil.Error):  # one may have ended by itself
                if TRACKER not in " ".join(child.cmdline()):
                    child.kill()

    def cause_of_death(self) -> str:
        """How the process ended, in words."""
        code = self._popen.wait()
        if code >= 0:
            return f"its process ended with exit code {code}"
        name = signal.Signals(-code).name
        return f"its process was killed ({name}{'; out of memory?' if name == 'SIGKILL' else ''})"

    @property
    def ended_well(self) -> bool:
        """Whether it ended by itself and without an error; once it has ended."""
        return self._popen.returncode == 0


def parent() -> Connection:
    """In such a process: the way to its parent."""
    return Connection(int(sys.argv[1]))
