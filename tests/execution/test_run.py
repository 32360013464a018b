"""`execute` and `run_study` with a backend that trains nothing. contracts/test_backends.py has real ones."""

import dataclasses
import shutil
import sys
from types import SimpleNamespace

import pytest

from depthbench import run_study
from depthbench.errors import BadInput, Interrupted, RunsFailed
from depthbench.events import Note, RunEnded, Silent, StudyStarted
from depthbench.execution import run as module
from depthbench.execution.backends import BACKENDS
from depthbench.execution.backends.entry import BackendEntry
from depthbench.execution.plan import make_plan
from depthbench.execution.run import execute, is_notebook
from depthbench.execution.settings import Execution
from depthbench.store.record import Record
from depthbench.store.run_store import RunStore
from depthbench.store.study_store import StudyStore


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"results": "here"}, "results = here: `execution` has another value; set it there"),
        ({"jobs": 3, "step": "eager"}, "jobs = 3, step_mode = eager: `execution` has another value"),
        ({"fresh": True}, "fresh = True: `execution` has another value"),
        ({"display": Silent(), "watch": object()}, "give `display` or `watch`, not both"),
    ],
)
def test_contradictory_arguments_of_run_study_are_refused(tiny, tmp_path, arguments, message):
    with pytest.raises(BadInput, match=message):
        run_study(tiny(), execution=Execution(tmp_path / "elsewhere", jobs=2), **arguments)
    assert not any(tmp_path.iterdir())


class Log(Silent):
    """A display that keeps its calls."""

    def __init__(self):
        self.calls = []

    def __enter__(self):
        self.calls.append("enter")
        return self

    def __exit__(self, *error):
        self.calls.append("exit")

    def show(self, event):
        self.calls.append(event)


@pytest.fixture
def plan(tiny, tmp_path, monkeypatch):
    """A plan for the backend "fake"."""
    monkeypatch.setitem(BACKENDS, "fake", BackendEntry(None))
    return make_plan(tiny(), Execution(tmp_path / "results", device="cpu", jobs=2, backend="fake"))


@pytest.fixture
def backend(monkeypatch):
    """Set the backend "fake"."""
    return lambda function, **facts: monkeypatch.setitem(BACKENDS, "fake", BackendEntry(function, **facts))


@pytest.mark.parametrize("error", [Interrupted, RuntimeError])
def test_the_display_is_left_and_the_results_are_unlocked_if_a_backend_raises(plan, backend, error):
    def fails(plan, display):
        display.show("training")
        raise error

    backend(fails)
    display = Log()
    with pytest.raises(error):
        execute(plan, display)
    started = StudyStarted(plan.todo, jobs=2, lanes=1, threads=plan.threads)
    assert display.calls == ["enter", started, "training", "exit"]
    with plan.store.opened(plan.study, plan.data_hash):
        pass


def test_no_other_process_can_write_while_a_backend_trains(plan, backend):
    def trains(plan, display):
        other = StudyStore(plan.store.path)
        with pytest.raises(BadInput, match="another depthbench"), other.opened(plan.study, plan.data_hash):
            pytest.fail("it must not open")

    backend(trains)
    execute(plan)
    assert plan.store.study().name == "tiny"


def test_the_records_of_runs_that_ended_are_returned(plan, backend):
    records = {run.run_id: Record.of(run).changed(status="failed", reason="boom") for run in plan.todo}
    backend(lambda plan, display: [display.show(RunEnded(run, records[run.run_id])) for run in plan.todo])
    assert execute(plan) == records


def test_a_directory_deleted_during_a_run_can_be_read_and_resumed(plan, backend):
    def trains(plan, display):
        shutil.rmtree(plan.store.path)
        for run in plan.todo:
            plan.store.run(run.run_id).write(record := Record.of(run))
            display.show(RunEnded(run, record))

    backend(trains)
    display = Log()
    execute(plan, display)
    notes = [event.text for event in display.calls if isinstance(event, Note)]
    assert notes == [f"{plan.store.path} was deleted and has been created again"]
    assert plan.store.study() == plan.study
    with plan.store.opened(plan.study, plan.data_hash):
        assert len(plan.store.records()) == len(plan.todo)


def test_a_plan_that_cannot_be_stored_is_refused_before_the_display_is_entered(plan, backend):
    backend(lambda plan, display: pytest.fail("it must not train"))
    with plan.store.opened(plan.study, "other images"):
        pass
    display = Log()
    with pytest.raises(BadInput, match="other settings"):
        execute(plan, display)
    assert display.calls == []


def test_a_backend_of_an_unknown_name_is_refused_before_anything_is_written(tiny, tmp_path):
    with pytest.raises(BadInput, match="no backend is called 'fake'"):
        make_plan(tiny(), Execution(tmp_path / "results", device="cpu", backend="fake"))
    assert not (tmp_path / "results").exists()


def test_a_backend_completes_its_plan_before_the_first_run(plan, backend):
    seen = []
    backend(
        lambda plan, display: seen.append(plan.lanes),
        prepare=lambda plan, display: dataclasses.replace(plan, jobs=4, lanes=4),
    )
    display = Log()
    execute(plan, display)
    assert (seen, display.calls[1].jobs, display.calls[1].lanes) == ([4], 4, 4)


def test_runs_that_another_process_trains_come_last_and_are_named(plan, backend, monkeypatch):
    monkeypatch.setattr(module, "ORPHAN_SECONDS", 0.1)
    seen = []
    backend(lambda plan, display: seen.extend(run.run_id for run in plan.todo))
    first, second = (run.run_id for run in plan.todo)
    display = Log()
    with plan.store.opened(plan.study, plan.data_hash):
        pass
    with plan.store.run(first).locked():
        execute(plan, display)
    assert seen == [second, first]
    line = f"another process is training 1 of these runs: {first}"
    assert [event.text for event in display.calls if isinstance(event, Note)] == [line]


def test_a_run_that_an_orphan_gives_up_soon_is_not_busy(plan, backend, monkeypatch):
    seen = []
    backend(lambda plan, display: seen.extend(run.run_id for run in plan.todo))
    names = [run.run_id for run in plan.todo]
    answers = [True, True, True, False]  # of the first run
    monkeypatch.setattr(module, "ORPHAN_SECONDS", 2.0)
    is_locked = lambda store: store.path.name == names[0] and answers.pop(0)  # noqa: E731
    monkeypatch.setattr(RunStore, "is_locked_here", is_locked)
    display = Log()
    execute(plan, display)
    assert (seen, answers) == (names, [])
    assert not any(isinstance(event, Note) for event in display.calls)


def test_a_file_in_the_place_of_a_run_is_named(plan, backend):
    backend(lambda plan, display: None)
    with plan.store.opened(plan.study, plan.data_hash):
        pass
    runs = plan.store.path / "runs"
    runs.mkdir(exist_ok=True)
    (runs / "notes.txt").write_text("mine")
    (file := runs / plan.todo[0].run_id).write_text("mine")
    display = Log()
    execute(plan, display)
    line = f"{file} is a file in the place of a run's directory; it is moved aside"
    assert [event.text for event in display.calls if isinstance(event, Note)] == [line]


def fails(plan, display):
    for run in plan.todo:
        status = (
            {"status": "failed", "reason": f"boom at seed {run.seed}"} if run.seed else {"status": "done"}
        )
        display.show(RunEnded(run, Record.of(run).changed(**status)))


def test_run_study_raises_the_reasons_of_the_runs_that_failed(tiny, tmp_path, backend):
    backend(fails)
    study = tiny(grid={"seed": [0, 1, 2]})
    execution = Execution(tmp_path, device="cpu", backend="fake")
    with pytest.raises(RunsFailed) as error:
        run_study(study, execution=execution)
    failed = {run.run_id: f"boom at seed {run.seed}" for run in study.runs() if run.seed}
    assert error.value.reasons == failed
    message = str(error.value)
    assert message.startswith("4 of 6 runs failed: ")
    assert all(name in message for name in failed)
    assert message.count("boom at seed 1") == 1
    assert run_study(study, execution=execution, raises=False) == tmp_path / "tiny"


class Shell:
    kernel = object()


@pytest.mark.parametrize("is_cell", [True, False])
def test_a_notebook_gets_lines_of_progress(tiny, tmp_path, backend, monkeypatch, capsys, is_cell):
    backend(fails)
    shell = Shell() if is_cell else None
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert is_notebook() == is_cell
    run_study(tiny(), execution=Execution(tmp_path, device="cpu", backend="fake"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" done")[0] for line in lines] == (
        ["[1/2] plain-8 seed 0", "[2/2] resnet-8 seed 0"] if is_cell else []
    )


def test_results_in_the_memory_of_this_process_are_refused(tiny):
    plan = make_plan(tiny(), Execution("memory://here", device="cpu"))
    with pytest.raises(BadInput, match="memory://here/tiny: other processes cannot write there"):
        execute(plan)
