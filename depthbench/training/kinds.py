"""The ways to make an update; no torch here. What they are is told in trainer.py."""

from typing import Literal, get_args

StepKind = Literal["auto", "eager", "captured", "compiled"]
STEPS: tuple[StepKind, ...] = get_args(StepKind)
