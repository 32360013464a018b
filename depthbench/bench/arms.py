"""The ways to train that a benchmark compares: its arms, called configurations in what it prints."""

from dataclasses import dataclass

from depthbench.bench.ceiling import modes, work


@dataclass(frozen=True)
class Arm:
    """`jobs` simultaneous processes of the contender `what`, each with `threads` threads and `lanes` runs.

    The runs of a process take turns."""

    what: str
    jobs: int
    threads: int
    mode: str = "steps"  # steps, probes, or a mode of the ceiling
    lanes: int = 1

    @property
    def name(self) -> str:
        """The name for people, for example `depthbench, 2 jobs`."""
        jobs = f"{self.lanes} lanes" if self.lanes > 1 else f"{self.jobs} job{'s'[: self.jobs > 1]}"
        return f"{self.what}, {jobs}" + (f", {self.mode}" if self.mode != "steps" else "")


def arms_on(
    device: str, precision: str, *, cores: int, max_jobs: int, conventional_threads: int
) -> list[Arm]:
    """Return the arms of each case, with at most `max_jobs` simultaneous jobs.

    Alone, the conventional loop has as many threads as torch uses by default. On a CPU, jobs share the cores,
    so each number of jobs has its own ceiling. On a GPU, all share one ceiling, and runs may share a
    process."""
    counts = _counts(max_jobs)
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
    competing = [Arm("conventional", best.jobs, best.threads)] if best.jobs > 1 else []
    ceilings = [Arm("ceiling", *share, mode) for share in shares for mode in modes(device, precision)]
    probed = [Arm(best.what, 1, cores, "probes"), Arm("watch", 1, cores, "probes")]
    return [alone, *competing, *ours, *lanes, *probed, *ceilings]


def work_of(arm: Arm, batch_size: int, device: str) -> int:
    """Return the work of one step of `arm` in all its jobs: images, operations or bytes."""
    return arm.jobs * arm.lanes * (work(arm.mode, device) if arm.what == "ceiling" else batch_size)


def _counts(maximum: int) -> list[int]:
    """Return 1, 2, 4, ... and `maximum`."""
    return sorted({maximum} | {1 << i for i in range(maximum.bit_length()) if 1 << i <= maximum})
