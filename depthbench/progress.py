"""The base of displays for `run_study(watch=...)`, the older form of `depthbench.events.Display`."""

from types import TracebackType
from typing import Any, Self

from depthbench.study.model import Run


class Silent:
    """A display of this older form that shows nothing.

    Such a display has some of these methods, one for each kind of event."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        pass

    def begin(self, plan: Any) -> None:
        """Called before the first run, with the plan (execution/watch_adapter.py)."""

    def note(self, line: str) -> None:
        """Called with a message for the user about the study."""

    def started(self, run: Run) -> None:
        """Called when a process starts a run."""

    def progress(self, run: Run, event: dict[str, Any]) -> None:
        """Called with a logged row of a run in progress, {"doing": text} or {"note": text}."""

    def ended(self, run: Run, status: str, reason: str | None, record: dict[str, Any] | None) -> None:
        """Called when a run ended, with the content of its run.json."""

    def stopping(self) -> None:
        """Called after the first Ctrl-C, while runs save their state."""

    def tick(self) -> None:
        """Called about twice a second."""
