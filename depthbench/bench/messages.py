"""Messages between a benchmark and the processes of its contenders (bench/contender.py).

The parent sends a Setup, which is answered with Ready, and then Requests. Each is answered with a list of
Timings."""

from dataclasses import dataclass

from depthbench.bench.case import Case


@dataclass(frozen=True)
class Setup:
    """The first message: the contender to load, and what it trains on."""

    what: str
    """A key of CONTENDERS."""
    case: Case
    device: str
    lanes: int = 1
    """Runs that take turns in the process."""


@dataclass(frozen=True)
class Ready:
    """The contender has been loaded and can be timed."""


@dataclass(frozen=True)
class Request:
    """Time some steps."""

    mode: str
    """What a step does, e.g. "probes". Each contender has its own modes."""
    steps: int
    threads: int
