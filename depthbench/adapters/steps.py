"""A step that begins and ends in different callbacks. The callbacks for all packages use it."""

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import nn

from depthbench.text import printable
from depthbench.watching.watch import Watch, watch


class Steps:
    """A watch that starts with training, and its current step. options: those of `depthbench.watch`."""

    def __init__(self, path: str | Path, **options: Any):
        self.path, self.options = path, options
        self.watch: Watch | None = None
        """The run in progress. None before training begins."""
        self._step = ExitStack()
        self._is_in_step = False

    def begin(self, model: nn.Module, made: int, **defaults: Any) -> None:
        """Start to watch a model after `made` steps. defaults: for options that the caller did not set."""
        self.watch = watch(model, self.path, **{"steps_made": made, **defaults} | self.options)

    def begin_step(self) -> None:
        """Begin a step. Does nothing within a step, where gradients are accumulated."""
        if self.watch is not None and not self._is_in_step:
            self._step.enter_context(self.watch.step())
            self._is_in_step = True

    def end_step(self) -> None:
        """End the step."""
        self._is_in_step = False
        self._step.close()

    def log(self, **values: Any) -> None:
        """Log values if a step was made."""
        if self.watch is not None and self.watch.steps_made and values:
            self.watch.log(**values)

    def say(self, lines: Iterable[str]) -> None:
        """Print lines on stderr, in the process that stores the run."""
        for line in lines:
            if self.watch is not None and self.watch.subject.writes:
                print(printable(f"watch: {line}"), file=sys.stderr)

    def end(self) -> None:
        """Store the run as done."""
        self.end_step()
        if self.watch is not None:
            self.watch.close()

    def fail(self, error: BaseException) -> None:
        """Store the run as failed, or as interrupted if a user stopped it."""
        self._is_in_step = False
        with ExitStack() as ends:
            ends.push(lambda *raised: True)  # outermost: suppresses the error, which the caller raises
            if self.watch is not None:
                ends.push(self.watch)
            ends.push(self._step.pop_all())
            raise error
