"""The ways to train that are measured beside each other."""

from dataclasses import dataclass

from depthbench.bench.ceiling import modes, work


@dataclass(frozen=True)
class Arm:
    """`jobs` processes of the contender `what` at once, each with so many threads, and `lanes` runs that take
    turns in it."""

    what: str
    jobs: int
    threads: int
    mode: str = "steps"  # what the contender does: steps, probes, or a mode of the ceiling
    lanes: int = 1

    @property
    def name(self) -> str:
        """For people, e.g. `depthbench, 2 jobs`."""
        jobs = f"{self.lanes} lanes" if self.lanes > 1 else f"{self.jobs} job{'s'[: self.jobs > 1]}"
        return f"{self.what}, {jobs}" + (f", {self.mode}" if self.mode != "steps" else "")


def arms_on(device: str, precision: str, cores: int, most: int, conventional_threads: int) -> list[Arm]:
    """What is measured in each case, with at most `most` jobs at once.

    The conventional loop alone has the threads that torch takes by itself. On a CPU jobs share the cores, and
    so have ceilings of their own; on a GPU they share the one ceiling, and runs may share a process too."""
    counts = _counts(most)
    alone = Arm("conventional", 1, conventional_threads)
    if device.startswith("cuda"):
        ours = [Arm("depthbench eager", 1, cores)]
        ours += [Arm("depthbench captured", n, max(1, cores // n)) for n in counts]
        lanes = [Arm("depthbench captured", 1, cores, lanes=n) for n in counts if n > 1]
        shares = [(1, cores)]
    else:
        ours = [Arm("depthbench", n, max(1, cores // n)) for n in counts]
        lanes = []
        shares = [(arm.jobs, arm.threads) for arm in ours]
    best = ours[-1]
    crowd = [Arm("conventional", best.jobs, best.threads)] if best.jobs > 1 else []
    ceilings = [Arm("ceiling", *share, mode) for share in shares for mode in modes(device, precision)]
    return [alone, *crowd, *ours, *lanes, Arm(best.what, 1, cores, "probes"), *ceilings]


def work_of(arm: Arm, batch_size: int, device: str) -> int:
    """What a step of `arm` is: images, operations or bytes, of all its jobs."""
    return arm.jobs * arm.lanes * (work(arm.mode, device) if arm.what == "ceiling" else batch_size)


def _counts(most: int) -> list[int]:
    """1, 2, 4, ... and `most`."""
    return sorted({most} | {1 << i for i in range(most.bit_length()) if 1 << i <= most})
