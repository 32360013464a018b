"""A process that trains a number of steps on request and returns their timing.

bench/messages.py lists what it receives and answers. It ends with its parent or when the parent closes the
pipe."""

from multiprocessing.connection import Connection

import torch

from depthbench.bench.messages import Ready, Request, Setup
from depthbench.registry import Entry

OURS = "depthbench.bench.ours:Ours"
CONTENDERS = {  # made from (case, device), and from lanes if there are several
    "conventional": Entry("depthbench.bench.conventional:Conventional"),
    "depthbench": Entry(OURS),
    "depthbench eager": Entry(OURS, options={"step": "eager"}),
    "depthbench captured": Entry(OURS, options={"step": "captured"}),
    "watch": Entry("depthbench.bench.watched:Watched"),
    "ceiling": Entry("depthbench.bench.ceiling:Ceiling"),
}


def main(connection: Connection) -> None:
    """Answer requests until the parent ends, which raises EOFError."""
    setup: Setup = connection.recv()
    device = torch.device(setup.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    several = {"lanes": setup.lanes} if setup.lanes > 1 else {}
    contender = CONTENDERS[setup.what](setup.case, device, **several)
    connection.send(Ready())
    while True:
        request: Request = connection.recv()
        torch.set_num_threads(request.threads)
        connection.send(contender.measure(request.mode, request.steps))
