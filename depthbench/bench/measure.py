"""Measure the arms of each case, alternately in every repeat."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pandas as pd

from depthbench.bench.arms import Arm, work_of
from depthbench.bench.case import Case
from depthbench.bench.messages import Setup
from depthbench.bench.ours import CADENCE
from depthbench.bench.team import Team
from depthbench.bench.timing import Timing

REST = 0.1  # seconds between segments, in which loader workers become idle
CEILING_FRACTION = 0.25  # of the length of a segment; enough for products and copies
CADENCE_SEGMENTS = 10  # total length of the whole runs of the digits study; at least one is made
WARM_UP_STEPS = {"cpu": 1, "mps": 3, "cuda": 20}  # kernels are chosen and captured in them

Progress = Callable[[float, str], None]  # takes the fraction done (0 to 1) and what comes next
Teams = dict[tuple[str, int], Team]  # by contender and number of lanes


@dataclass(frozen=True)
class Segment:
    """The timing of some steps of an arm: a row of bench.csv."""

    case: str
    arm: str
    what: str
    mode: str
    jobs: int
    lanes: int
    threads: int
    probes: str  # off, every step or default; empty for a ceiling
    repeat: int
    pair: int  # within the repeat, if two kinds of steps alternate
    seconds: float
    steps: int
    per_second: float
    unit: str  # what is counted: images, operations or bytes


@dataclass
class Session:
    """The settings that all segments share, and the segments so far."""

    device: str
    cores: int
    repeats: int
    seconds: float
    progress: Progress
    segments: list[Segment] = field(default_factory=list)
    total: int = 1  # number of segments and warm-ups
    begun: int = 0  # number of them that have begun

    def begin(self, what: str, count: int = 1) -> None:
        """Report that `what` begins, which counts as `count` segments."""
        self.progress(self.begun / self.total, what)
        self.begun += count

    def add(
        self, case: Case, arm: Arm, timings: list[Timing], *, repeat: int, name: str | None = None
    ) -> None:
        """Add a segment for each timing. A contender that alternates returns pairs of timings."""
        is_ceiling = arm.what == "ceiling"
        for i, timing in enumerate(timings):
            seconds = timing.ended - timing.began
            segment = Segment(
                case=case.name,
                arm=name or arm.name,
                what=arm.what,
                mode=arm.mode,
                jobs=arm.jobs,
                lanes=arm.lanes,
                threads=arm.threads,
                probes="" if is_ceiling else timing.label,
                repeat=repeat,
                pair=i // 2,
                seconds=seconds,
                steps=timing.steps,
                per_second=timing.steps * work_of(arm, case.batch_size, self.device) / seconds,
                unit="images" if not is_ceiling else "bytes" if arm.mode == "copy" else "operations",
            )
            self.segments.append(segment)


def measure(cases: list[Case], arms: list[Arm], session: Session) -> pd.DataFrame:
    """Return a row for each `Segment`.

    Raises BenchFailed if a process dies."""
    session.total = len(cases) * len(arms) * (1 + session.repeats)
    for case in cases:
        session.begin(f"{case.name}: starting processes", 0)
        with _teams(case, arms, session) as teams:
            _measure_case(case, arms, teams, session)
    return pd.DataFrame(session.segments)


def _measure_case(case: Case, arms: list[Arm], teams: Teams, session: Session) -> None:
    steps = {}
    for arm in arms:
        session.begin(f"{case.name}: warming up {arm.name}")
        steps[arm] = _warm_up(arm, teams[_team_of(arm)], session)
    for repeat in range(session.repeats):
        shift = repeat % len(arms)
        for arm in arms[shift:] + arms[:shift]:
            session.begin(f"{case.name}: repeat {repeat + 1} of {session.repeats}, {arm.name}")
            session.add(case, arm, _segment(arm, teams[_team_of(arm)], steps[arm]), repeat=repeat)
    for arm in arms if case.digits else ():
        if arm.mode != "probes":
            continue
        session.begin(f"{case.name}: whole runs of {CADENCE} steps, {arm.name}", 0)
        _measure_cadence(case, arm, teams[_team_of(arm)], session)


def _measure_cadence(case: Case, arm: Arm, team: Team, session: Session) -> None:
    """Measure whole runs of the digits study with and without its probes, as many as time permits."""
    began = time.perf_counter()
    for repeat in range(session.repeats):
        timings = team.measure("cadence", CADENCE, arm.jobs, arm.threads)
        session.add(case, arm, timings, repeat=repeat, name=f"{arm.what}, {arm.jobs} job, cadence")
        took = (time.perf_counter() - began) / (repeat + 1)
        if (repeat + 2) * took > CADENCE_SEGMENTS * session.seconds:
            return


def _warm_up(arm: Arm, team: Team, session: Session) -> int:
    """Warm up `arm`. Returns the number of steps that take about as long as a segment should."""
    aim = session.seconds * (CEILING_FRACTION if arm.what == "ceiling" else 1)
    team.warm_up(arm.mode, WARM_UP_STEPS[session.device.partition(":")[0]], arm.jobs, arm.threads)
    steps = 1
    while True:
        began = time.perf_counter()
        _segment(arm, team, steps)
        took = time.perf_counter() - began - REST
        if took > aim / 4:
            return max(1, round(steps * aim / took))
        steps = math.ceil(steps * min(8, 0.4 * aim / max(took, 1e-6)))


def _segment(arm: Arm, team: Team, steps: int) -> list[Timing]:
    time.sleep(REST)
    return team.measure(arm.mode, steps, arm.jobs, arm.threads)


@contextmanager
def _teams(case: Case, arms: list[Arm], session: Session) -> Iterator[Teams]:
    """Start a team for each contender, as large as its largest arm needs. The teams end with the case."""
    teams: Teams = {}
    try:
        for arm in arms:
            if (key := _team_of(arm)) not in teams:
                same_team = [other for other in arms if _team_of(other) == key]
                size, threads = max(a.jobs for a in same_team), max(a.threads for a in same_team)
                setup = Setup(arm.what, case, session.device, arm.lanes)
                teams[key] = Team(setup, size, threads)
        for team in teams.values():
            team.wait()
        yield teams
        for team in teams.values():
            team.end()
    finally:
        for team in teams.values():
            team.kill()


def _team_of(arm: Arm) -> tuple[str, int]:
    return arm.what, arm.lanes
