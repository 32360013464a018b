"""The start of a process: `python -m depthbench.execution.child MODULE FD PARENT` (execution/process.py).

It arranges the end of the process before it imports MODULE, which can take seconds."""

import contextlib
import importlib
import sys
from multiprocessing.connection import Connection

from depthbench.machine.parent import SAVING_SECONDS, end_with_parent


def main() -> None:
    """Call `MODULE.main` with the connection to the parent, until the parent closes it or dies."""
    module, descriptor, parent = sys.argv[1:]
    end_with_parent(SAVING_SECONDS, int(parent))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent is gone
        importlib.import_module(module).main(Connection(int(descriptor)))


if __name__ == "__main__":
    main()
