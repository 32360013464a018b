import dataclasses
import io
import json

import pytest
import typer
from rich.console import Console

from depthbench.cli.outcome import announcement, finish, planned_rows, recipe_line
from depthbench.execution.plan import make_plan
from depthbench.execution.settings import Execution
from depthbench.files import write_text
from depthbench.store.record import Record


@pytest.fixture
def plan(tiny, tmp_path):
    """Return a function that makes a plan of a tiny study."""
    return lambda jobs=1, **study: make_plan(tiny(**study), Execution(tmp_path, device="cpu", jobs=jobs))


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=120)


@pytest.fixture
def drawn(monkeypatch):
    """Draw no report. Returns the directories of which one was to be drawn."""
    paths = []

    def write_report(path, style):
        paths.append(path)
        return path / "page"

    monkeypatch.setattr("depthbench.report.write_report", write_report)
    return paths


def store(plan, statuses, **facts):
    """Store a record of the first runs of a plan for each status."""
    with plan.store.opened(plan.study, plan.data_hash):
        for run, status in zip(plan.todo, statuses, strict=False):
            plan.store.run(run.run_id).write(Record.of(run, **facts).changed(status=status))


def failure_line(plan, console, capsys):
    """Return what `finish` prints about failed runs."""
    with pytest.raises(typer.Exit) as end:
        finish(plan, console, {}, as_json=False)
    assert end.value.exit_code == 1
    return capsys.readouterr().err.strip()


def test_a_plan_is_announced_in_words(plan):
    several = dataclasses.replace(plan(jobs=2), threads=3, notes=("a note",))
    first, results, note = announcement(several)
    assert first == (
        "tiny: 2 runs of 12 steps on digits, 0 already done, 2 to do on cpu (2 at a time, 3 threads each)"
    )
    assert (results, note) == (f"results: {several.store.path}", "a note")
    one = dataclasses.replace(several, todo=several.todo[:1], threads=1)
    expected = "tiny: 1 run of 12 steps on digits, 0 already done, 1 to do on cpu (one at a time, 1 thread)"
    assert announcement(one)[0] == expected


@pytest.mark.parametrize(
    ("count", "line"),
    [(1, "left out 1 unreadable image: 0"), (6, "left out 6 unreadable images: 0, 1, 2, 3, 4, ...")],
)
def test_unreadable_images_are_named_up_to_five(plan, count, line):
    made = plan()
    data = dataclasses.replace(made.data, skipped=tuple(map(str, range(count))))
    assert announcement(dataclasses.replace(made, data=data))[-1] == line


def test_planned_runs_are_sorted_whether_they_are_done_or_not(plan):
    made = plan(grid={"depth": [14, 8], "seed": [1, 0]})
    split = dataclasses.replace(made, todo=made.todo[::2], finished=made.todo[1::2])
    rows = planned_rows(split)
    keys = [(row["depth"], row["network"], row["seed"]) for row in rows]
    assert keys == sorted(keys)
    assert {row["run_id"] for row in rows if row["status"] == "done"} == {r.run_id for r in split.finished}


def test_a_study_without_a_finished_run_has_no_report(plan, console, capsys, drawn):
    made = plan()
    store(made, ["failed", "interrupted"])
    failure_line(made, console, capsys)
    assert "report: none, because no run has finished" in console.file.getvalue()
    assert drawn == []


def test_the_first_failure_is_explained(plan, console, capsys, drawn):
    made = plan()
    store(made, ["failed", "done"], reason="RuntimeError: wrong shape")
    failed = made.todo[0].run_id
    reason = f"1 of 2 runs failed: {failed} (RuntimeError: wrong shape)"
    assert failure_line(made, console, capsys) == reason
    trace = made.store.run(failed).path / "error.txt"
    write_text(trace, "Traceback")
    assert failure_line(made, console, capsys) == f"{reason}; see {trace}"
    assert drawn == [made.store.path] * 2


def test_a_run_that_was_never_stored_has_failed(plan, console, capsys, drawn):
    made = plan()
    store(made, ["done"])
    line = f"1 of 2 runs not stored: {made.todo[1].run_id}; rerun this command to train them"
    assert failure_line(made, console, capsys) == line


def test_a_failure_that_could_not_be_stored_is_reported(plan, console, capsys, drawn):
    made = plan()
    store(made, ["interrupted"])
    full = {
        run.run_id: Record.of(run).changed(status="failed", reason="no space left for /results/tiny")
        for run in made.todo
    }
    names = ", ".join(sorted(full))
    with pytest.raises(typer.Exit):
        finish(made, console, full, as_json=False)
    assert capsys.readouterr().err.strip() == (
        f"2 of 2 runs failed: {names} (no space left for /results/tiny)"
    )


def test_only_networks_that_may_diverge_may(plan, console, capsys, drawn):
    made = plan(may_diverge=["plain"])
    store(made, ["diverged", "diverged"])
    (other,) = (run.run_id for run in made.todo if run.network == "resnet")
    assert failure_line(made, console, capsys) == f"1 of 2 runs diverged: {other}"


def test_other_runs_of_the_study_do_not_count(plan, console, capsys, drawn):
    made = plan()
    store(made, ["done", "failed"])
    first = dataclasses.replace(made, todo=made.todo[:1])
    finish(first, console, {}, as_json=True)  # exits with no error
    printed = json.loads(capsys.readouterr().out)
    assert [run["run_id"] for run in printed["runs"]] == [first.todo[0].run_id]
    assert (printed["study"], printed["report"]) == ("tiny", str(made.store.path / "page"))
    assert console.file.getvalue() == ""


def test_without_a_report_the_outcome_has_none(plan, console, capsys, drawn):
    made = plan()
    store(made, ["done", "done"])
    finish(made, console, {}, as_json=True, draws=False)
    assert json.loads(capsys.readouterr().out)["report"] is None
    finish(made, console, {}, as_json=False, draws=False)
    assert f"report: none (`depthbench report {made.store.path}` draws it)" in console.file.getvalue()
    assert drawn == []
    (made.store.path / "report").mkdir()
    finish(made, console, {}, as_json=False, draws=False)
    again = f"report: an earlier one (`depthbench report {made.store.path}` draws it again)"
    assert again in console.file.getvalue()


def test_the_recipe_is_one_line_with_what_differs_from_the_defaults(tiny):
    variant = {"of": "plain", "recipe": {"lr": 0.01}}
    study = tiny(variants={"slow": variant}, grid={"network": ["plain", "slow"]}, recipe={"gamma": 0.5})
    assert recipe_line(study) == (
        "recipe: 12 steps of 16 images, optimizer=sgd, lr=0.05, weight_decay=0.0001, schedule=step, "
        "warmup=none, gamma=0.5, pad=1, flip=false; slow: lr=0.01"
    )


def test_networks_with_another_budget_or_normalisation_are_announced(tiny, tmp_path):
    variants = {"long": {"of": "plain", "budget": 3, "data": {"normalisation": "none"}}}
    study = tiny(variants=variants, grid={"network": ["plain", "long"]})
    assert recipe_line(study).endswith("flip=false; long: steps=36, normalisation=none")
    made = make_plan(study, Execution(str(tmp_path / "results"), device="cpu"))
    assert announcement(made)[0].startswith("tiny: 2 runs of 12 to 36 steps on digits")
    assert {row["network"]: row["steps"] for row in planned_rows(made)} == {"plain": 12, "long": 36}


def test_a_shard_names_the_command_that_draws_the_report_of_a_url(tiny, console):
    made = make_plan(tiny(), Execution("memory://of-shards", device="cpu", shard=(1, 2)))
    store(made, ["done"])
    finish(made, console, {}, as_json=False)
    assert "`depthbench report memory://of-shards/tiny` draws it" in " ".join(console.file.getvalue().split())
