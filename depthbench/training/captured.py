"""The training step as a CUDA graph, which starts thousands of small kernels in one call.

Starting the kernels limits the speed of a deep and narrow network. A graph records them once, with the memory
that they use, and replays them. See "CUDA Graphs" in the CUDA semantics notes of PyTorch's manual."""

import contextlib
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from depthbench.data.batches import Batch
from depthbench.training.step import Step

# Eager steps before the first capture. They initialise libraries and the state of the optimiser, and compile
# kernels. One of them must be of the kind that is captured.
WARM_UP_STEPS = 3

# Graphs whose capture failed. They live as long as the process, because torch 2.11 still uses them at each
# allocation.
_FAILED: list[torch.cuda.CUDAGraph] = []


class Kind(NamedTuple):
    """A kind of steps. All steps of a kind make the same operations."""

    probed: bool
    keeps: bool
    """Whether to keep the gradients for the probes of the next step."""


@dataclass(frozen=True, eq=False)
class CapturedGraph:
    """A captured step, the tensors from which it reads its batch, and the tensor of its probes' values."""

    graph: torch.cuda.CUDAGraph
    batch: Batch
    values: Tensor | None


class CapturedStep:
    """The updates of `step`, made eagerly at first and then by replaying a graph.

    There is one graph for each kind of steps: plain or probed, and with or without keeping gradients. The
    eager steps are steps of the run, so nothing is trained twice. All work is on `stream`. Steps that cannot
    be captured (for example because the network reads its activations on the host) stay eager, and `note`
    says so. Python code of a network runs during the capture and not again."""

    def __init__(self, step: Step, stream: torch.cuda.Stream):
        self.step, self.stream = step, stream
        self.note: str | None = None
        self._eager_steps: Counter[Kind] = Counter()
        self._graphs: dict[Kind, CapturedGraph] = {}  # all read the same batch

    def __call__(self, batch: Batch, lr: float, probed: bool, keeps: bool = False) -> Tensor | None:
        """Make one update at rate `lr`, as Step does."""
        kind = Kind(probed, keeps)
        if not self._is_captured(batch, kind):
            self._eager_steps[kind] += 1
            return self.step(batch, lr, *kind)
        self.step.set_rate(lr)
        captured = self._graphs[kind]
        for ours, given in zip(parts(captured.batch), parts(batch), strict=True):
            ours.copy_(given)
        captured.graph.replay()
        self.step.recorder.note_replay(keeps)
        return None if captured.values is None else captured.values.clone()  # the next replay overwrites them

    def _is_captured(self, batch: Batch, kind: Kind) -> bool:
        """Return whether this kind of step has a graph. Captures it after the warm-up."""
        if self.note is not None:
            return False
        if kind in self._graphs:
            return True
        if self._eager_steps.total() < WARM_UP_STEPS or not self._eager_steps[kind]:
            return False
        try:
            self._capture(batch, kind)
        except RuntimeError as error:
            torch.cuda.synchronize(self.step.device)
            self._graphs.clear()
            cause = error.__context__ or error  # the end of a failed capture raises a second error
            reason = str(cause).splitlines()[0]
            self.note = f"steps are eager, because they cannot be captured as a CUDA graph: {reason}"
            with contextlib.suppress(RuntimeError):  # an eager run may not need it
                self._clear_up()
            return False
        return True

    def _clear_up(self) -> None:
        """Release the memory of a failed capture and restore the random generator of the device.

        torch 2.11 keeps that memory, and leaves the generator in capture mode. Dropout and the graphs of
        other runs in this process would then fail. A capture that succeeds restores the generator."""
        for graph in _FAILED:
            graph.reset()
        number = torch.zeros((), device=self.step.device)
        succeeding = torch.cuda.CUDAGraph()
        with torch.cuda.graph(succeeding, stream=self.stream, capture_error_mode="thread_local"):
            number.add_(1)

    def _capture(self, batch: Batch, kind: Kind) -> None:
        other = next(iter(self._graphs.values()), None)
        read = other.batch if other else Batch._make(None if part is None else part.clone() for part in batch)
        graph = torch.cuda.CUDAGraph()
        # All graphs share memory: they never run at once, and none needs tensors of another. Gradients that
        # are kept for the next step are in separate memory, which an eager step allocated before.
        pool = other.graph.pool() if other else None
        # "thread_local" lets another run in this process allocate memory during the capture.
        try:
            with torch.cuda.graph(graph, pool=pool, stream=self.stream, capture_error_mode="thread_local"):
                values = self.step.update(read, *kind)
        except RuntimeError:
            _FAILED.append(graph)
            raise
        self._graphs[kind] = CapturedGraph(graph, read, values)


def parts(batch: Batch) -> list[Tensor]:
    """Return the tensors that a batch has."""
    return [part for part in batch if part is not None]
