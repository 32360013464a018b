"""As many processes as one contender ever has jobs; they live side by side and work when they are told."""

from depthbench.bench import BenchFailed
from depthbench.bench.case import Case
from depthbench.bench.timing import Timing, together
from depthbench.execution.process import KEEP_MEMORY, Process


class Team:
    """`size` processes of the contender `what`, with up to `threads` threads each; see Arm for `lanes`."""

    def __init__(self, what: str, size: int, threads: int, case: Case, device: str, lanes: int = 1):
        self.name = f"{case.name}, {what}"
        memory = {} if what == "conventional" else KEEP_MEMORY  # which nobody sets by himself
        self.members = [Process("depthbench.bench.contender", threads, memory) for _ in range(size)]
        for member in self.members:
            member.tell((what, case, device, lanes))

    def wait(self) -> None:
        """Until all are ready."""
        for member in self.members:
            self._hear(member)

    def measure(self, mode: str, steps: int, jobs: int, threads: int) -> list[Timing]:
        """`steps` steps in each of `jobs` processes at once."""
        members = self.members[:jobs]
        for member in members:
            member.tell((mode, steps, threads))
        answers = [self._hear(member) for member in members]
        return [together(list(parts)) for parts in zip(*answers, strict=True)]

    def warm_up(self, mode: str, steps: int, jobs: int, threads: int) -> None:
        """As `measure`, one process after the other: cuDNN times its algorithms in the first steps."""
        for member in self.members[:jobs]:
            member.tell((mode, steps, threads))
            self._hear(member)

    def end(self) -> None:
        for member in self.members:
            member.end()

    def kill(self) -> None:
        for member in self.members:
            member.kill()

    def _hear(self, member: Process):
        try:
            return member.hear()
        except (EOFError, OSError):
            raise BenchFailed(
                f"{self.name}: {member.cause_of_death()}; with less memory, try fewer --jobs"
            ) from None
