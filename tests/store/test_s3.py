"""Results in a bucket: whole commands, against a server on this machine that speaks S3."""

import dataclasses
import json
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from depthbench.cli.app import app
from depthbench.errors import BadInput
from depthbench.events import RowLogged, RunEnded, Silent
from depthbench.execution.plan import make_plan
from depthbench.execution.run import execute
from depthbench.execution.settings import Execution
from depthbench.report import COMPARISON_FIGURES, FIGURES, write_comparison
from depthbench.store.remote import Remote
from depthbench.store.results import load_predictions, load_results
from depthbench.store.study_store import StudyStore
from depthbench.study.file import load_study
from depthbench.training.loop import finish, train
from tests.conftest import CPU, TINY
from tests.processes import Forked

pytestmark = pytest.mark.slow

RESULTS = "s3://bucket/folder"
STUDY = f"{RESULTS}/tiny"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with one bucket, to which all URLs lead."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_DEFAULT_REGION": "us-east-1",
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("another-machine")),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="bucket")
        yield client
    server.stop()


@pytest.fixture(autouse=True)
def here(server, machine, monkeypatch):
    """Begin each test on a machine without a mirror. Reports have one figure, because drawing is slow."""
    for name, figures in (("page.FIGURES", FIGURES), ("comparison.COMPARISON_FIGURES", COMPARISON_FIGURES)):
        monkeypatch.setattr(f"depthbench.report.{name}", dict([next(iter(figures.items()))]))


def names(server, prefix=""):
    listed = server.list_objects_v2(Bucket="bucket", Prefix=f"folder/{prefix}").get("Contents", [])
    return {entry["Key"].removeprefix("folder/") for entry in listed}


def tiny(**changes):
    return load_study(None, **TINY | changes).resolve(1437, flips=False)


def plan_of(study, results=RESULTS):
    """Return the plan of a study with one thread for each run, like that of the other machine."""
    return dataclasses.replace(make_plan(study, Execution(results, device="cpu")), threads=1)


class Events(Silent):
    """A display that keeps the first step that each run logs, and the ends. Calls `at_row` at each row."""

    def __init__(self, at_row=lambda event: None):
        self.first_rows, self.ends, self.at_row = {}, [], at_row

    def show(self, event):
        if isinstance(event, RowLogged):
            self.first_rows.setdefault(event.run.run_id, event.step)
            self.at_row(event)
        elif isinstance(event, RunEnded):
            self.ends.append(event)


@pytest.fixture(scope="module")
def begun(server, digits):
    """Another machine has begun the study: a run has stopped. Return the names that the bucket held then."""
    study, updates = tiny(), iter(range(100))
    run, _ = study.runs()
    store = StudyStore(STUDY)
    with store.opened(study, digits.content_hash()), store.run(run.run_id).locked():
        steps = train(
            run,
            digits,
            store.run(run.run_id),
            CPU,
            data_hash=digits.content_hash(),
            should_stop=lambda: next(updates) >= 8,
        )
        assert finish(steps).status == "interrupted"
    return names(server)


@pytest.fixture(scope="module")
def completed(begun, tmp_path_factory):
    """A third machine has completed the study. Return what it displayed."""
    display = Events()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("third-machine")))
        patch.setattr("depthbench.execution.process.Popen", Forked)
        execute(plan_of(tiny()), display)
    return display


def invoke(*command):
    return CliRunner().invoke(app, [str(word) for word in command])


def problem(command):
    """Return the error of a command in one line."""
    with pytest.raises(BadInput) as error:
        CliRunner().invoke(
            app, [str(word) for word in command], catch_exceptions=False, standalone_mode=False
        )
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_run_is_resumed_on_another_machine_and_equals_an_uninterrupted_one(
    server, begun, completed, trained
):
    run, other = tiny().runs()
    folder = f"tiny/runs/{run.run_id}"
    assert {f"{folder}/run.json", f"{folder}/checkpoint.pt", "tiny/study.toml"} <= begun
    assert completed.first_rows[run.run_id] > 4
    assert completed.first_rows[other.run_id] == 4
    results = load_results(STUDY)
    _, whole = trained(run)
    history = whole.frame("history")
    stored = results.history[results.history["run_id"] == run.run_id]
    for column in ("step", "loss", "train_error", "test_error"):
        assert stored[column].tolist() == pytest.approx(history[column].tolist(), abs=0, nan_ok=True)
    assert set(load_predictions(STUDY)["run_id"]) == {run.run_id, other.run_id}


def test_nothing_but_results_is_left_in_the_bucket(server, completed):
    (first, second) = (f"tiny/runs/{run.run_id}" for run in tiny().runs())
    stored = ("history.parquet", "layers.parquet", "predictions.parquet", "weights.safetensors", "run.json")
    expected = {f"{folder}/{name}" for folder in (first, second) for name in stored}
    assert {name for name in names(server) if "report" not in name} == {*expected, "tiny/study.toml"}


def test_finished_runs_are_skipped_on_any_machine(completed):
    plan = plan_of(tiny())
    assert (plan.todo, len(plan.finished)) == ((), 2)
    display = Events()
    execute(plan, display)
    assert display.ends == []


def test_commands_read_and_write_results_in_a_bucket(server, completed, tmp_path):
    shown = invoke("show", STUDY, "--json")
    assert [row["status"] for row in json.loads(shown.stdout)] == ["done", "done"]
    reported = invoke("report", STUDY)
    assert reported.exit_code == 0, reported.output
    url, page = reported.stdout.strip().removesuffix(")").split(" (on this machine: ")
    assert url == f"{STUDY}/report/index.html"
    html = Path(page).read_text(encoding="utf-8")
    assert f"depthbench run {STUDY}/study.toml --results {RESULTS}" in html
    assert str(tmp_path) not in html
    assert {"tiny/report/index.html", "tiny/report/tables/runs.csv"} <= names(server, "tiny/report")
    indexed = invoke("report", RESULTS)
    assert indexed.stdout.startswith(f"{RESULTS}/index.html (on this machine: ")
    assert "index.html" in names(server)


def test_the_command_on_the_page_repeats_the_study(completed):
    repeated = invoke("run", f"{STUDY}/study.toml", "--results", RESULTS, "--no-report", "--device", "cpu")
    assert repeated.exit_code == 0, repeated.output
    assert "2 already done, nothing to do" in repeated.output
    assert f"results: {STUDY}" in repeated.output


def test_two_studies_in_a_bucket_are_compared(server, completed):
    for name in names(server, "tiny/"):
        copy = name.replace("tiny/", "copy/", 1)
        source = {"Bucket": "bucket", "Key": f"folder/{name}"}
        server.copy_object(Bucket="bucket", Key=f"folder/{copy}", CopySource=source)
    page = write_comparison([STUDY, f"{RESULTS}/copy"])
    assert page.is_file()
    assert "comparisons/tiny-vs-copy/index.html" in names(server)
    for name in names(server, "copy/") | names(server, "comparisons/"):
        server.delete_object(Bucket="bucket", Key=f"folder/{name}")


def test_only_one_command_at_a_time_writes_a_study(completed):
    command = ["run", f"{STUDY}/study.toml", "--results", RESULTS, "--no-report", "--device", "cpu"]
    with Remote(STUDY).locked():
        assert problem(command).startswith(f"{STUDY}: a depthbench on ")
    assert invoke(*command).exit_code == 0


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (
            "s3://missing/x",
            "s3://missing/x/quick cannot be written (FileNotFoundError: The specified bucket ",
        ),
        ("foo://bucket/x", "foo://bucket/x/quick: no such protocol; "),
        ("s3://", "URL s3://: names no directory; write e.g. s3://bucket/folder"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_before_training(results, message):
    assert problem(["run", "--depths", "8", "--results", results]).startswith(message)


def test_missing_credentials_are_reported_before_training(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("s3fs.S3FileSystem._cache", {})  # a connection that has credentials
    message = problem(["run", "--depths", "8", "--results", "s3://bucket/x"])
    assert message.startswith("s3://bucket/x/quick cannot be written (NoCredentialsError: ")


def test_results_that_cannot_be_read_are_refused_in_one_line():
    assert problem(["show", "s3://missing/x"]).startswith("s3://missing/x cannot be read (")
    assert problem(["show", f"{RESULTS}/none"]).startswith(f"{RESULTS}/none holds no results")


def test_a_run_survives_that_its_bucket_is_gone(server, digits):
    server.create_bucket(Bucket="fragile")
    study = tiny(grid={"network": ["plain"], "depth": [8], "seed": [0]})
    (run,) = study.runs()

    def delete_bucket(event):
        if isinstance(event, RowLogged) and event.step == 4:
            for entry in server.list_objects_v2(Bucket="fragile")["Contents"]:
                server.delete_object(Bucket="fragile", Key=entry["Key"])
            server.delete_bucket(Bucket="fragile")

    store = StudyStore("s3://fragile/x/tiny")
    with store.opened(study, digits.content_hash()), store.run(run.run_id).locked():
        steps = train(run, digits, store.run(run.run_id), CPU, data_hash="hash", emit=delete_bucket)
        with pytest.raises(
            OSError, match=r"^s3://fragile/x/tiny cannot be (written|read) \(\w+: The specified"
        ):
            finish(steps)
    server.create_bucket(Bucket="fragile")
    display = Events()
    execute(plan_of(study, "s3://fragile/x"), display)
    assert display.ends == []  # the mirror has kept the finished run, which is pushed now
    results = load_results("s3://fragile/x/tiny")
    assert results.runs["status"].tolist() == ["done"]
    assert len(results.history) == 4
