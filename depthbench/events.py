"""Events of a running study, one class each, and the protocol of the displays that show them."""

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from depthbench.store.record import Record, Status
from depthbench.study.model import Run


@dataclass(frozen=True)
class StudyStarted:
    """The first run is about to start."""

    runs: tuple[Run, ...]
    """The runs to train."""
    jobs: int
    """Number of runs at once."""
    lanes: int
    """Number of runs that take turns in one process."""
    threads: int
    """Threads of each run."""


@dataclass(frozen=True)
class RunStarted:
    """A process starts a run. The same run can start again in another process."""

    run: Run


@dataclass(frozen=True)
class RunWaiting:
    """A run that had started waits until it can start again, because its process or node died."""

    run: Run


@dataclass(frozen=True)
class RowLogged:
    """A run in progress logged a row of its history."""

    run: Run
    step: int
    steps: int
    first_step: int
    """The step from which this process trains: above 0 for a resumed run."""
    loss: float
    train_error: float
    """Percent."""
    test_error: float
    """Percent; NaN between evaluations."""
    images_per_second: float


@dataclass(frozen=True)
class Progressed:
    """A run in progress has made steps. Sent about once a second."""

    run: Run
    step: int
    first_step: int
    """The step from which this process trains."""
    seconds: float
    """Seconds since this process started to train the run."""
    seconds_left: float
    """Estimated seconds until the run ends."""


@dataclass(frozen=True)
class Alive:
    """A run in progress trains or evaluates. Sent about once a second, so that a hang is noticed."""

    run: Run
    step: int
    longest_step: float
    """Seconds of the longest step so far. Before the first step: the estimate for a slow CPU."""


@dataclass(frozen=True)
class Activity:
    """A run in progress does something other than training."""

    run: Run
    text: str


@dataclass(frozen=True)
class Note:
    """A message for the user."""

    text: str
    run: Run | None = None
    """None for a note on the whole study."""


@dataclass(frozen=True)
class RunEnded:
    """A run ended with the status that its record names."""

    run: Run
    record: Record

    @property
    def status(self) -> Status:
        return self.record.status

    @property
    def reason(self) -> str | None:
        """The reason for a failure; None for other runs."""
        return self.record.reason


@dataclass(frozen=True)
class Stopping:
    """The user or the system asked the study to stop. Each run in progress now saves its state."""


Event = (
    StudyStarted
    | RunStarted
    | RunWaiting
    | RowLogged
    | Progressed
    | Alive
    | Activity
    | Note
    | RunEnded
    | Stopping
)


class Display(Protocol):
    """A display of a study's progress.

    `execution.run.execute` enters it before the first event and leaves it after the last."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def show(self, event: Event) -> None:
        """Show an event, in the order in which events happen."""

    def tick(self) -> None:
        """Refresh what depends on the clock. Called about twice a second."""


class Silent:
    """A display that shows nothing, and a base for displays that handle some events only."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        pass

    def show(self, event: Event) -> None:
        pass

    def tick(self) -> None:
        pass


class Forwarding:
    """A display that passes everything on to another, and a base for displays that also do something else."""

    def __init__(self, display: Display):
        self.display = display

    def __enter__(self) -> Self:
        self.display.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.display.__exit__(kind, error, trace)

    def show(self, event: Event) -> None:
        self.display.show(event)

    def tick(self) -> None:
        self.display.tick()
