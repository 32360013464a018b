"""The state of a run on disk: enough to resume as if the run had never stopped.

Two states are kept, the newest and the one before it, so that a broken file costs some steps and not the
run."""

from pathlib import Path
from typing import Any

import torch

from depthbench.files import atomic

State = dict[str, Any]
"""Plain values and tensors. See Trainer.state."""


def save(path: Path, state: State) -> None:
    """Write `state` to `path`, and keep the previous state as the backup."""
    with atomic(path) as temporary:
        torch.save(state, temporary)
        if path.exists():
            path.replace(_backup(path))


def load(path: Path, run_id: str) -> tuple[State | None, str | None]:
    """Return the newest readable state of `run_id`, and a note if a newer one could not be used.

    Returns (None, None) without a checkpoint."""
    problems = []
    for file in (path, _backup(path)):
        if not file.exists():
            continue
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # reading a broken zip or pickle can raise anything
            problems.append(f"{file.name} cannot be read ({type(error).__name__})")
            continue
        if state.get("run_id") != run_id:
            problems.append(f"{file.name} belongs to another run")
            continue
        return state, _note(problems, f"resuming from step {state['step']}")
    return None, _note(problems, "starting from step 0")


def _note(problems: list[str], consequence: str) -> str | None:
    return f"{', '.join(problems)}: {consequence}" if problems else None


def remove(path: Path) -> None:
    """Delete both states."""
    path.unlink(missing_ok=True)
    _backup(path).unlink(missing_ok=True)


def _backup(path: Path) -> Path:
    return path.with_suffix(".before.pt")
