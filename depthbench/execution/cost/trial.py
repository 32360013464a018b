"""A process that trains a few steps of runs, on random images, to see how long one takes.

It is told what all have in common, says "ready", and is then told (Run, recompute) again and again. It tells
("pace", Pace), or ("failed", reason)."""

import contextlib
from multiprocessing.connection import Connection

from depthbench.errors import one_line
from depthbench.execution.cost.pace import measure
from depthbench.execution.process import parent
from depthbench.plugins import load_plugin


def serve(connection: Connection) -> None:
    """Measure what the parent asks for, until it is gone."""
    setup = connection.recv()
    for plugin in setup["plugins"]:
        load_plugin(plugin)
    import torch

    from depthbench.training import loop  # all that a run imports  # noqa: F401

    torch.set_num_threads(setup["threads"])
    torch.optim.SGD([torch.zeros(1)], lr=0.1)  # the first optimiser imports for a second
    connection.send("ready")
    while True:
        run, recompute = connection.recv()
        try:
            answer = "pace", measure(run, recompute=recompute, **setup["machine"])
        except Exception as error:
            answer = "failed", one_line(error)
        connection.send(answer)


if __name__ == "__main__":
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        serve(parent())
