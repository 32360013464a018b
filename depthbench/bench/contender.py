"""A process that trains some steps whenever it is told to, and says when they began and ended.

It is told (what, case, device, lanes) and says "ready"; then for each (mode, steps, threads) it answers a
list of Timings. The end of its parent, or of its end of the pipe, is the end of it."""

import contextlib
from multiprocessing.connection import Connection

import torch

from depthbench.execution.process import parent
from depthbench.registry import Entry

OURS = "depthbench.bench.ours:Ours"
CONTENDERS = {  # what -> its class, made from (case, device), ours with lanes too; imported when needed
    "conventional": Entry("depthbench.bench.conventional:Conventional"),
    "depthbench": Entry(OURS),
    "depthbench eager": Entry(OURS, options={"step": "eager"}),
    "depthbench captured": Entry(OURS, options={"step": "captured"}),
    "ceiling": Entry("depthbench.bench.ceiling:Ceiling"),
}


def serve(connection: Connection) -> None:
    """Answer until the parent is gone (EOFError)."""
    what, case, device, lanes = connection.recv()
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    contender = CONTENDERS[what](case, device, **({"lanes": lanes} if lanes > 1 else {}))
    connection.send("ready")
    while True:
        mode, steps, threads = connection.recv()
        torch.set_num_threads(threads)
        connection.send(contender.measure(mode, steps))


if __name__ == "__main__":
    with contextlib.suppress(EOFError, BrokenPipeError):
        serve(parent())
