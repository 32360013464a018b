"""A process that trains a number of steps on request and returns their timing.

It receives (what, case, device, lanes) and answers "ready". Then it answers each (mode, steps, threads) with
a list of Timings. It ends with its parent or when the parent closes the pipe."""

import contextlib
from multiprocessing.connection import Connection

import torch

from depthbench.execution.process import connect_to_parent
from depthbench.registry import Entry

OURS = "depthbench.bench.ours:Ours"
CONTENDERS = {  # made from (case, device), and from lanes if there are several
    "conventional": Entry("depthbench.bench.conventional:Conventional"),
    "depthbench": Entry(OURS),
    "depthbench eager": Entry(OURS, options={"step": "eager"}),
    "depthbench captured": Entry(OURS, options={"step": "captured"}),
    "ceiling": Entry("depthbench.bench.ceiling:Ceiling"),
}


def serve(connection: Connection) -> None:
    """Answer requests until the parent ends, which raises EOFError."""
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
        serve(connect_to_parent())
