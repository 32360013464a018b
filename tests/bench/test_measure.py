"""The order and the rows of a benchmark, with stand-ins for the processes."""

import pytest

from depthbench.bench import measure as measuring
from depthbench.bench.arms import Arm
from depthbench.bench.case import Case
from depthbench.bench.measure import Session, measure
from depthbench.bench.messages import Setup
from depthbench.bench.timing import Timing

OURS, PROBED = Arm("depthbench", 2, 1), Arm("depthbench", 1, 2, "probes")
CEILING = Arm("ceiling", 2, 1, "copy")
ARMS = [OURS, PROBED, CEILING]


class FakeTeam:
    """A team whose steps take 0.5 s on its own clock."""

    def __init__(self, setup, size, threads):
        self.made = (setup.what, size, threads, setup.lanes)
        self.calls = []
        self.end_calls = []

    def wait(self):
        pass

    def warm_up(self, mode, steps, jobs, threads):
        self.calls.append(("warm up", mode, steps, jobs, threads))

    def measure(self, mode, steps, jobs, threads):
        self.calls.append(("measure", mode, steps, jobs, threads))
        labels = ["off"] if mode in ("steps", "copy") else ["off", "every step"]
        return [Timing(label, steps, 1.0, 1.0 + 0.5 * steps) for label in labels]

    def end(self):
        self.end_calls.append("end")

    def kill(self):
        self.end_calls.append("kill")


@pytest.fixture
def teams(monkeypatch):
    made = []

    def make(*args):
        made.append(FakeTeam(*args))
        return made[-1]

    monkeypatch.setattr(measuring, "Team", make)
    monkeypatch.setattr(measuring, "REST", 0.0)
    monkeypatch.setattr(measuring, "_warm_up", lambda arm, team, session: 4)
    return made


def session(progress, repeats=3):
    return Session("cpu", 2, repeats, 0.1, lambda done, what: progress.append((done, what)))


def test_a_row_for_each_arm_and_repeat(teams):
    rows = measure([Case(8, False, 16, "fp32")], ARMS, session([]))
    assert list(rows.columns) == [
        "case", "arm", "what", "mode", "jobs", "lanes", "threads", "probes", "repeat", "pair", "seconds",
        "steps", "per_second", "unit",
    ]  # fmt: skip
    first = rows[rows["repeat"] == 0].set_index(["mode", "probes"])
    assert first["unit"].to_dict() == {
        ("steps", "off"): "images",
        ("probes", "off"): "images",
        ("probes", "every step"): "images",
        ("copy", ""): "bytes",
    }
    assert (rows["seconds"] == 2).all()
    assert first.loc[("steps", "off"), "per_second"] == 4 * 2 * 16 / 2  # steps, jobs, batch size, seconds
    assert (rows["pair"] == 0).all()


def test_each_repeat_begins_with_another_arm(teams):
    progress = []
    rows = measure([Case(8, False, 16, "fp32")], ARMS, session(progress))
    order = rows.drop_duplicates(["repeat", "arm"])["mode"].tolist()
    assert order == ["steps", "probes", "copy", "probes", "copy", "steps", "copy", "steps", "probes"]
    done = [fraction for fraction, _ in progress]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(11 / 12)  # three warm-ups and nine segments; the last one is to come


def test_a_team_is_as_large_as_its_largest_arm_and_ends_with_its_case(teams):
    measure([Case(8, False, 16, "fp32")], ARMS, session([]))
    assert [team.made for team in teams] == [("depthbench", 2, 2, 1), ("ceiling", 2, 1, 1)]
    assert all(team.end_calls == ["end", "kill"] for team in teams)


def test_the_digits_study_also_has_whole_runs_with_default_probes(teams, monkeypatch):
    monkeypatch.setattr(measuring, "CADENCE", 20)
    rows = measure([Case(8, True, 16, "fp32")], ARMS, session([], repeats=1))
    cadence = rows[rows["arm"] == "depthbench, 1 job, cadence"]
    assert cadence["steps"].tolist() == [20, 20]


def test_an_arm_warms_up_until_its_steps_fill_a_segment(monkeypatch):
    monkeypatch.setattr(measuring, "REST", 0.0)
    now = [0.0]
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now[0])

    class Clocked(FakeTeam):
        def measure(self, mode, steps, jobs, threads):
            now[0] += 0.01 * steps
            return super().measure(mode, steps, jobs, threads)

    team = Clocked(Setup("depthbench", None, "cpu"), 2, 1)
    assert measuring._warm_up(OURS, team, Session("cpu", 2, 1, 1.0, print)) == 100
    assert team.calls[0] == ("warm up", "steps", 1, 2, 1)
    assert measuring._warm_up(CEILING, team, Session("cpu", 2, 1, 1.0, print)) == 25
