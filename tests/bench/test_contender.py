from multiprocessing import Pipe
from threading import Thread

import pytest
import torch

from depthbench.bench import contender
from depthbench.bench.case import Case
from depthbench.bench.messages import Ready, Request, Setup
from depthbench.registry import Entry

CASE = Case(8, True, 16, "fp32")


class Answering:
    """A contender that answers with the arguments that it received."""

    def __init__(self, case, device, lanes=1):
        self.made = (case, device, lanes)

    def measure(self, mode, steps):
        return [(*self.made, mode, steps)]


@pytest.mark.parametrize("lanes", [1, 3])
def test_requests_are_answered_until_the_parent_closes_the_pipe(monkeypatch, lanes):
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setitem(contender.CONTENDERS, "answering", Entry("tests.bench.test_contender:Answering"))
    parent, child = Pipe()
    ended = []

    def serve():
        with pytest.raises(EOFError):
            contender.main(child)
        ended.append(True)

    thread = Thread(target=serve)
    thread.start()
    parent.send(Setup("answering", CASE, "cpu", lanes))
    assert parent.recv() == Ready()
    for steps, count in ((5, 1), (7, 2)):
        parent.send(Request("steps", steps, count))
        assert parent.recv() == [(CASE, torch.device("cpu"), lanes, "steps", steps)]
    parent.close()
    thread.join(10)
    assert ended == [True]
    assert threads == [1, 2]


@pytest.mark.parametrize("name", list(contender.CONTENDERS))
def test_every_contender_can_be_loaded(name):
    assert callable(contender.CONTENDERS[name].load())
