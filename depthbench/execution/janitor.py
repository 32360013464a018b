"""A process that cleans up after a command that was killed.

Some processes of a local Ray cluster go on after the death of the one that started the cluster. They all
write to files in the folder of the cluster."""

import contextlib
import os
import shutil
import sys
from subprocess import DEVNULL, PIPE, Popen

import psutil


def watch(folder: str) -> Popen[bytes]:
    """Start a janitor for a folder and the processes that write to files in it.

    It acts once its standard input is closed, which the death of this process does."""
    command = [sys.executable, "-m", "depthbench.execution.janitor", folder, str(os.getpid())]
    return Popen(command, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, process_group=0)


def clean(folder: str, spared: int) -> None:
    """Kill the processes that have files in `folder` open, except `spared`, and remove the folder."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            files = process.open_files() if process.pid != spared else []
            if any(file.path.startswith(f"{folder}{os.sep}") for file in files):
                process.kill()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    clean(sys.argv[1], spared=int(sys.argv[2]))
