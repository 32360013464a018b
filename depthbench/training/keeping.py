"""Which weights a run keeps (`--keep-weights`), and the names of their files. No torch here."""

import re
from dataclasses import dataclass
from typing import Literal, Self, cast

from depthbench.errors import BadInput

WEIGHTS = "weights.safetensors"
"""The last weights, or the best ones."""
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class KeepWeights:
    """Which weights a run keeps: none; the last ones; the best ones, by the error on the validation set or,
    without one, on the test set; or those after every N updates, and the last ones."""

    which: Literal["none", "last", "best", "every"] = "last"
    every: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the choice that `text` names. Raises BadInput if it names none."""
        if text in ("none", "last", "best"):
            return cls(cast("Literal['none', 'last', 'best']", text))
        match = re.fullmatch(r"every:(\d{1,9})", text)
        if match is None or int(match[1]) < 1:
            raise BadInput(
                f"--keep-weights {text}: should be none, last, best or every:N with N >= 1, e.g. every:100"
            )
        return cls("every", int(match[1]))

    def __str__(self) -> str:
        return self.which if self.every is None else f"every:{self.every}"

    def is_due(self, step: int) -> bool:
        """Return whether `every:N` keeps the weights after `step` updates."""
        return self.every is not None and step > 0 and step % self.every == 0

    def files(self, steps: int, best: int | None = None) -> dict[str, int | None]:
        """Return the files of a run that has ended after `steps` updates: name -> step of the weights.

        best: the step of its best evaluation. None: unknown, and so is the step of the best weights."""
        if self.which == "none":
            return {}
        due = range(self.every, steps + 1, self.every) if self.every else ()
        files: dict[str, int | None] = {file_at(step): step for step in due}
        return files | {WEIGHTS: best if self.which == "best" else steps}


KEEP_LAST = KeepWeights()


def file_at(step: int) -> str:
    """Return the name of the file with the weights after `step` updates."""
    return f"weights-step-{step:06}{SUFFIX}"
