"""The processes of one contender: as many as the largest number of its jobs. They idle between requests."""

from typing import Any

from depthbench.bench import BenchFailed
from depthbench.bench.messages import Request, Setup
from depthbench.bench.timing import Timing, together
from depthbench.execution.process import KEEP_MEMORY, Process


class Team:
    """`size` processes of one contender, each with up to `threads` threads."""

    def __init__(self, setup: Setup, size: int, threads: int):
        self.name = f"{setup.case.name}, {setup.what}"
        # users of the conventional loop rarely set this
        memory = {} if setup.what == "conventional" else KEEP_MEMORY
        self.members = [Process("depthbench.bench.contender", threads, memory) for _ in range(size)]
        for member in self.members:
            member.send(setup)

    def wait(self) -> None:
        """Wait until all processes are ready."""
        for member in self.members:
            self._receive(member)

    def measure(self, mode: str, steps: int, jobs: int, threads: int) -> list[Timing]:
        """Time `steps` steps in each of `jobs` simultaneous processes."""
        members = self.members[:jobs]
        for member in members:
            member.send(Request(mode, steps, threads))
        answers = [self._receive(member) for member in members]
        return [together(list(parts)) for parts in zip(*answers, strict=True)]

    def warm_up(self, mode: str, steps: int, jobs: int, threads: int) -> None:
        """Run `steps` steps in one process after the other, since cuDNN times its algorithms in the first."""
        for member in self.members[:jobs]:
            member.send(Request(mode, steps, threads))
            self._receive(member)

    def end(self) -> None:
        """Ask the processes to end, and wait for them."""
        for member in self.members:
            member.end()

    def kill(self) -> None:
        """Kill the processes."""
        for member in self.members:
            member.kill()

    def _receive(self, member: Process) -> Any:
        """Return the next answer of `member`. Raises BenchFailed if it has died."""
        try:
            return member.receive()
        except (EOFError, OSError):
            raise BenchFailed(
                f"{self.name}: {member.cause_of_death()}; try fewer --jobs, which need less memory"
            ) from None
