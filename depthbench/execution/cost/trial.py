"""A process that trains a few steps of runs on random images, to measure how long a run takes.

It receives a TrialSetup, answers Ready, and then receives Trials. It answers each with a Pace or Failed."""

from multiprocessing.connection import Connection

from depthbench.errors import one_line
from depthbench.execution.cost.pace import measure
from depthbench.execution.messages import Failed, Ready, Trial, TrialSetup
from depthbench.plugins.loading import load_plugins
from depthbench.training.pace import Pace


def main(connection: Connection) -> None:
    """Measure the runs that the parent sends, until it ends."""
    setup: TrialSetup = connection.recv()
    load_plugins(setup.plugins)
    import torch

    from depthbench.training import loop  # imports all that a run needs  # noqa: F401

    torch.set_num_threads(setup.threads)
    torch.optim.SGD([torch.zeros(1)], lr=0.1)  # importing the first optimiser takes a second
    connection.send(Ready())
    while True:
        trial: Trial = connection.recv()
        answer: Pace | Failed
        try:
            answer = measure(trial.run, setup.images, trial.mode, setup.lanes)
        except Exception as error:
            answer = Failed(one_line(error))
        connection.send(answer)
