"""A run's state on disk: enough to go on as if it had never stopped.

Two are kept, the newest and the one before it, so that a broken file costs some steps and not the run."""

from pathlib import Path
from typing import Any

import torch

from depthbench.files import atomic


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path`; what was there becomes the one before."""
    with atomic(path) as temporary:
        torch.save(state, temporary)
        if path.exists():
            path.replace(_before(path))


def load(path: Path, run_id: str) -> tuple[dict[str, Any] | None, str | None]:
    """The newest readable state of `run_id`, and what to tell the person if a newer one was broken.

    (None, None) where there is no checkpoint at all."""
    broken = []
    for file in (path, _before(path)):
        if not file.exists():
            continue
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # a broken zip or pickle raises whatever its reader meets
            broken.append(f"{file.name} cannot be read ({type(error).__name__})")
            continue
        if state.get("run_id") != run_id:
            broken.append(f"{file.name} is of another run")
            continue
        where = f"going on from step {state['step']}"
        return state, f"{'; '.join(broken)}: {where}" if broken else None
    return None, f"{'; '.join(broken)}: starting again" if broken else None


def remove(path: Path) -> None:
    """Delete both."""
    path.unlink(missing_ok=True)
    _before(path).unlink(missing_ok=True)


def _before(path: Path) -> Path:
    return path.with_suffix(".before.pt")
