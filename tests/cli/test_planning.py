import dataclasses
import io

import pytest
from rich.console import Console

from depthbench.cli.planning import announced_plan
from depthbench.execution.cost.calibrate import Calibration
from depthbench.execution.plan import make_plan
from depthbench.execution.settings import Execution
from depthbench.study.file import load_study


@pytest.fixture
def announce(tmp_path, monkeypatch):
    """Return a function that prints a plan and returns its text and whether steps were timed."""

    def run(depth, backend="local", done=0, **console):
        timed = []

        def calibrate(plan, progress):
            timed.append(True)
            return Calibration({(run.network, run.depth): 7.0 for run in plan.todo}, 1.0)

        def planned(study, execution, **options):
            plan = make_plan(study, execution, **options)
            runs = {"finished": plan.todo[:done], "todo": plan.todo[done:]}
            return dataclasses.replace(
                plan, execution=dataclasses.replace(execution, backend=backend), **runs
            )

        monkeypatch.setattr("depthbench.execution.cost.estimate.calibrate", calibrate)
        monkeypatch.setattr("depthbench.execution.plan.make_plan", planned)
        study = load_study("quick", grid={"network": ["resnet"], "depth": depth, "seed": [0]})
        out = Console(file=io.StringIO(), width=120, **console)
        announced_plan(out, study, Execution(tmp_path, device="cpu", jobs=1))
        return out.file.getvalue(), bool(timed)

    return run


def test_chosen_depths_are_shown_in_a_table_with_their_cost_and_time(announce):
    printed, is_timed = announce("auto")
    assert is_timed
    row = next(line for line in printed.splitlines() if " 26 " in line)
    cells = [cell.strip() for cell in row.strip("│ ").split("│")]
    assert cells[:5] == ["resnet", "26", "about 3.0 M", "366,650", "3.4 M"]
    assert cells[6:] == ["7 s", "1"]
    assert printed.count("auto: depths of about 747.1 k, 3.0 M and 12.0 M multiply-adds") == 1
    assert "3 of 3 runs to do" in printed


def test_only_chosen_depths_are_shown_and_quiet_shows_nothing(announce):
    printed, is_timed = announce([8])
    assert "multiply-adds" not in printed
    assert not is_timed
    assert announce("auto", quiet=True) == ("", False)


def test_runs_on_other_machines_are_not_timed_here(announce):
    printed, is_timed = announce("auto", backend="ray")
    assert not is_timed
    assert "about 3.0 M" in printed
    assert "time of a run" not in printed


def test_a_study_that_is_resumed_does_not_wait_for_times(announce):
    printed, is_timed = announce("auto", done=1)
    assert not is_timed
    assert "1 (1 done)" in printed


def test_lines_of_earlier_rounds_of_a_search_are_not_repeated(tmp_path):
    study = load_study(
        "quick", grid={"network": ["plain"], "depth": [8], "seed": [0]}, options={"survival": 0.5}
    )
    out = Console(file=io.StringIO(), width=120)
    said = {"options.survival = 0.5 has no effect: plain has no shortcuts"}
    announced_plan(out, study, Execution(tmp_path, device="cpu", jobs=1), said)
    printed = out.file.getvalue()
    assert "quick: 1 run of 180 steps on digits" in printed
    assert "has no effect" not in printed
    assert len(said) == 3
