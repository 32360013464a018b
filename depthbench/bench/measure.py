"""Cases x arms x repeats, alternating -> rows."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from depthbench.bench.arms import Arm, work_of
from depthbench.bench.case import Case
from depthbench.bench.ours import CADENCE
from depthbench.bench.team import Team
from depthbench.bench.timing import Timing

REST = 0.1  # seconds between segments, in which loader workers come to rest
CEILING_PART = 0.25  # of a segment: a product or a copy needs no longer
CADENCE_SEGMENTS = 10  # how long whole runs of the digits study may take in all; one is always made
WARM = {"cpu": 1, "mps": 3, "cuda": 20}  # steps before any is timed: kernels are chosen and captured in them

Tell = Callable[[float, str], None]
Teams = dict[tuple[str, int], Team]  # by contender and lanes


@dataclass
class Session:
    """What all segments share, and the rows so far."""

    device: str
    cores: int
    repeats: int
    seconds: float
    tell: Tell  # is told how much of all is done (0 to 1), and what is next
    rows: list[dict[str, Any]] = field(default_factory=list)
    parts: int = 1  # segments and warm-ups in all
    begun: int = 0

    def next(self, what: str, counts: int = 1) -> None:
        """Tell what begins; it is so many of the parts."""
        self.tell(self.begun / self.parts, what)
        self.begun += counts

    def add(self, case: Case, arm: Arm, repeat: int, timings: list[Timing], name: str | None = None) -> None:
        """A row a timing. A contender that alternates within a segment gives pairs of them."""
        for i, timing in enumerate(timings):
            seconds = timing.ended - timing.began
            unit = "images" if arm.what != "ceiling" else "bytes" if arm.mode == "copy" else "operations"
            row = {"case": case.name, "arm": name or arm.name, "what": arm.what, "mode": arm.mode}
            row |= {"jobs": arm.jobs, "lanes": arm.lanes, "threads": arm.threads, "probes": timing.label}
            row |= {"repeat": repeat, "pair": i // 2, "seconds": seconds, "steps": timing.steps}
            if arm.what == "ceiling":
                row["probes"] = ""
            row["per_second"] = timing.steps * work_of(arm, case.batch_size, self.device) / seconds
            self.rows.append(row | {"unit": unit})


def measure(cases: list[Case], arms: list[Arm], session: Session) -> pd.DataFrame:
    """A row for each timed segment (or part of one, where two kinds of steps alternate within it).

    Raises BenchFailed where a process dies."""
    session.parts = len(cases) * len(arms) * (1 + session.repeats)
    for case in cases:
        session.next(f"{case.name}: starting processes", 0)
        with _teams(case, arms, session) as teams:
            _measure_case(case, arms, teams, session)
    return pd.DataFrame(session.rows)


def _measure_case(case: Case, arms: list[Arm], teams: Teams, session: Session) -> None:
    steps = {}
    for arm in arms:
        session.next(f"{case.name}: warming up {arm.name}")
        steps[arm] = _settle(arm, teams[_team_of(arm)], session)
    for repeat in range(session.repeats):
        shift = repeat % len(arms)
        for arm in arms[shift:] + arms[:shift]:
            session.next(f"{case.name}: repeat {repeat + 1} of {session.repeats}, {arm.name}")
            session.add(case, arm, repeat, _segment(arm, teams[_team_of(arm)], steps[arm]))
    if case.digits:
        arm = next(arm for arm in arms if arm.mode == "probes")
        session.next(f"{case.name}: whole runs of {CADENCE} steps with and without probes", 0)
        _measure_cadence(case, arm, teams[_team_of(arm)], session)


def _measure_cadence(case: Case, arm: Arm, team: Team, session: Session) -> None:
    """Whole runs of the digits study with its own probes and without, as many as there is time for."""
    began = time.perf_counter()
    for repeat in range(session.repeats):
        timings = team.measure("cadence", CADENCE, arm.jobs, arm.threads)
        session.add(case, arm, repeat, timings, name=f"{arm.what}, {arm.jobs} job, cadence")
        took = (time.perf_counter() - began) / (repeat + 1)
        if (repeat + 2) * took > CADENCE_SEGMENTS * session.seconds:
            return


def _settle(arm: Arm, team: Team, session: Session) -> int:
    """Warm `arm` up, and say how many steps take about as long as a segment should."""
    aim = session.seconds * (CEILING_PART if arm.what == "ceiling" else 1)
    team.warm_up(arm.mode, WARM[session.device.partition(":")[0]], arm.jobs, arm.threads)
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
    """A team for each contender, as large as any of its arms needs. They end with the case."""
    teams: Teams = {}
    try:
        for arm in arms:
            if (key := _team_of(arm)) not in teams:
                alike = [other for other in arms if _team_of(other) == key]
                size, threads = max(a.jobs for a in alike), max(a.threads for a in alike)
                teams[key] = Team(arm.what, size, threads, case, session.device, arm.lanes)
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
