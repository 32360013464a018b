"""The step as a CUDA graph: thousands of small kernels started by one call.

A step of a deep and narrow network is bound by the starting of its kernels. A graph records them once, with
the memory they use, and replays them. See "CUDA Graphs" in the CUDA semantics notes of PyTorch's manual."""

import contextlib

import torch
from torch import Tensor

from depthbench.data.batches import Batch
from depthbench.training.step import Step

# Eager steps before the first capture, one of its own kind among them: libraries set themselves up, the
# optimiser its state, kernels are compiled.
WARM_UP = 3

# Graphs whose capture has failed, while the process lives: torch 2.11 still asks them at each allocation.
_FAILED: list[torch.cuda.CUDAGraph] = []


class CapturedStep:
    """Makes the updates of `step`, eagerly at first and then by replaying a graph: one for plain steps, and
    one for probed steps. The eager steps are steps of the run: nothing is trained twice.

    All work is on `stream`. What cannot be captured (a network that looks at its own activations, say) goes
    on eagerly, and `note` says so. Python code of a network runs when it is captured and not again."""

    def __init__(self, step: Step, stream: torch.cuda.Stream):
        self.step, self.stream = step, stream
        self.note: str | None = None
        self._eager_steps = {False: 0, True: 0}  # plain, probed
        self._graphs: dict[bool, tuple[torch.cuda.CUDAGraph, Tensor | None]] = {}
        self._batch: Batch | None = None  # where the graphs read their batch

    def __call__(self, batch: Batch, lr: float, probed: bool) -> Tensor | None:
        """As Step: one update, and the probes' values (layers, probes) if `probed`."""
        if not self._is_captured(batch, probed):
            self._eager_steps[probed] += 1
            return self.step(batch, lr, probed)
        self.step.set_rate(lr)
        for ours, given in zip(self._batch, batch, strict=True):
            if ours is not None:
                ours.copy_(given)
        graph, values = self._graphs[probed]
        graph.replay()
        return values.clone() if probed else None  # the next replay writes over them

    def _is_captured(self, batch: Batch, probed: bool) -> bool:
        """Whether there is a graph for this kind of step; makes it when it is time to."""
        if self.note is not None:
            return False
        if probed in self._graphs:
            return True
        if sum(self._eager_steps.values()) < WARM_UP or not self._eager_steps[probed]:
            return False
        try:
            self._capture(batch, probed)
        except RuntimeError as error:
            torch.cuda.synchronize(self.step.device)
            self._graphs.clear()
            reason = str(error.__context__ or error).splitlines()[0]  # the end of a capture hides its cause
            self.note = f"the step cannot be captured as a CUDA graph, and is eager: {reason}"
            with contextlib.suppress(RuntimeError):  # a run that is eager from now on may need none of it
                self._clear_up()
            return False
        return True

    def _clear_up(self) -> None:
        """Give back the memory of a capture that has failed (torch 2.11 keeps it), and mend the generator of
        the device, which that left as if in capture (torch 2.11): dropout would be refused, and the graphs of
        other runs in this process. A capture that succeeds mends it."""
        for graph in _FAILED:
            graph.reset()
        number = torch.zeros((), device=self.step.device)
        succeeding = torch.cuda.CUDAGraph()
        with torch.cuda.graph(succeeding, stream=self.stream, capture_error_mode="thread_local"):
            number.add_(1)

    def _capture(self, batch: Batch, probed: bool) -> None:
        if self._batch is None:
            self._batch = Batch(*(None if part is None else part.clone() for part in batch))
        graph = torch.cuda.CUDAGraph()
        # One memory for both graphs: they never run at once, and none needs what the other left behind.
        pool = next(iter(self._graphs.values()))[0].pool() if self._graphs else None
        # "thread_local": another run in this process may allocate memory meanwhile.
        try:
            with torch.cuda.graph(graph, pool=pool, stream=self.stream, capture_error_mode="thread_local"):
                values = self.step.update(self._batch, probed)
        except RuntimeError:
            _FAILED.append(graph)
            raise
        self._graphs[probed] = graph, values
