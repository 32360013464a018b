"""The command line: one small study end to end, and a table of bad input."""

import builtins
import errno
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from depthbench import __version__ as depthbench_version
from depthbench.__main__ import main as script
from depthbench.cli.app import app, main
from depthbench.errors import BadInput
from depthbench.report import FIGURES
from depthbench.store.study_store import StudyStore
from depthbench.study.model import FORMAT
from tests.conftest import SMALL
from tests.failing_networks import WHERE


def depthbench(*arguments, **options):
    command = [sys.executable, "-m", "depthbench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def invoke(*arguments):
    """Run a command in this process, which is faster. Return exit code, stdout and stderr."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(autouse=True)
def few_figures(monkeypatch):
    """Draw only two figures, because all take seconds. tests/report draws all."""
    few = {name: FIGURES[name] for name in ("degradation", "frontier")}
    monkeypatch.setattr("depthbench.report.page.FIGURES", few)


@pytest.fixture
def copied(trained_study, tmp_path):
    """Return a copy of the trained study that a test may change."""
    return shutil.copytree(trained_study.path, tmp_path / "copied" / "small")


def test_run_trains_stores_and_reports(trained_study):
    path, printed = trained_study.path, trained_study.printed
    assert re.search(
        r"^small: 4 runs of 10 steps on digits, 0 already done, 4 to do on cpu ", printed, re.MULTILINE
    )
    assert "[4/4]" in printed
    assert "report: results/small/report/index.html" in printed
    assert (path / "study.toml").read_text().startswith("data_hash = ")
    assert len(list(path.glob("runs/*/run.json"))) == 4
    assert not list(path.glob("runs/*/checkpoint*"))
    assert "<svg" in (path / "report" / "index.html").read_text()
    for pattern in ("figures/*.svg", "figures/*.png", "tables/*.csv", "tables/*.md", "tables/classes.tex"):
        assert list((path / "report").glob(pattern)), pattern
    assert (path / "report/figures/confusion.svg").exists()


def test_the_same_command_again_trains_nothing_and_more_seeds_join(copied):
    run = ["run", "--depths", "8", "--steps", "10", "--name", "small", *SMALL, "--json"]
    run += ["--seeds", "2", "--jobs", "1", "--results", copied.parent]
    _, dry, _ = invoke(*run, "--dry-run")
    assert [row["status"] for row in json.loads(dry)].count("done") == 2
    code, printed, complaint = invoke(*run, "--quiet")
    outcome = json.loads(printed)
    assert (code, complaint) == (0, "")
    assert len(outcome["runs"]) == 4
    assert {row["status"] for row in outcome["runs"]} == {"done"}


@pytest.mark.slow
def test_frontier_finds_where_networks_stop_training_and_reports_it(tmp_path):
    asked = [
        "frontier",
        "plain",
        "--deepest",
        "8",
        "--seeds",
        "1",
        "--steps",
        "4",
        "--below",
        "100",
    ]
    asked += ["--set", "width=4", "--set", "evaluate.every=4", "--device", "cpu", "--results", tmp_path]
    code, printed, _ = invoke(*asked, "--quiet", "--json")
    assert code == 0
    outcome = json.loads(printed)
    assert outcome["study"] == "frontier-quick"
    assert [(row["network"], row["median"], row["open"]) for row in outcome["networks"]] == [("plain", 8, 1)]
    page = (tmp_path / "frontier-quick/report/index.html").read_text()
    assert "Deepest trainable depth" in page
    assert "plain: train error below 100\N{NO-BREAK SPACE}% up to depth 8 (1 seed)" in page
    printed = invoke(*asked, "--no-report")[1]
    assert "report: an earlier one" in printed
    assert json.loads(invoke(*asked, "--no-report", "--json")[1])["report"] is None
    assert "plain: train error below 100 % up to depth 8 (1 seed)" in printed


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("nosuch", "no network is called 'nosuch'"),
        ("plain_mlp --set options.shortcut=B", "options.shortcut: plain_mlp has no such option"),
        ("plain --deepest 7", "--deepest 7: the shallowest plain network has depth 8"),
        ("plain --below 0", "frontier: below = 0.0: should be above 0"),
    ],
)
def test_an_impossible_search_is_refused_in_one_line(tmp_path, arguments, complaint):
    with pytest.raises(BadInput, match=complaint):
        invoke("frontier", *arguments.split(), "--results", tmp_path)


def test_show_prints_a_table_or_json(trained_study):
    path = trained_study.path
    table = CliRunner().invoke(app, ["show", str(path)])
    assert "resnet" in table.stdout
    assert "not started" not in table.stdout
    rows = json.loads(CliRunner().invoke(app, ["show", str(path), "--json"]).stdout)
    assert rows[0]["network"] == "plain"
    assert 0 <= rows[0]["test_error"] <= 100


def test_show_and_plan_name_inconclusive_verdicts(trained_study):
    path = trained_study.path
    lines = invoke("show", path)[1].splitlines()[-3:]
    assert all(": inconclusive (" in line and "; a verdict needs 3 seeds" in line for line in lines)
    assert json.loads(invoke("show", path, "--json")[1])
    plan = ["plan", "--depths", "8", "--no-calibrate", "--device", "cpu", "--pilot", path]
    printed = invoke(*plan)[1]
    assert all(line in printed for line in lines)
    _, printed, note = invoke(*plan, "--json")
    assert json.loads(printed)["study"] == "quick"
    assert all(line in note for line in lines)


def test_show_says_how_many_runs_have_not_started(trained_study, tmp_path):
    path = shutil.copytree(trained_study.path, tmp_path / "[bold]part")
    first, second, *_ = (path / "runs").iterdir()
    shutil.rmtree(first)
    printed = invoke("show", path)[1]
    assert printed.splitlines()[-1] == "1 more run of the study has not started"
    assert "[bold]part" in printed
    shutil.rmtree(second)
    assert "2 more runs of the study have not started" in invoke("show", path)[1]


@pytest.mark.slow
def test_failures_are_reported_even_with_quiet(tmp_path, failing_networks):
    run = ["run", "--networks", "raises", "--depths", "1", "--seeds", "1", "--steps", "2", "--quiet"]
    code, printed, errors = invoke(*run, "--plugin", failing_networks, "--results", tmp_path)
    assert (code, printed) == (1, "")
    assert errors.startswith("1 of 1 runs failed: raises-1-s0")
    assert f" (RuntimeError: wrong shape {WHERE}); see {tmp_path}/quick/runs/raises" in errors


def test_report_can_be_drawn_again(copied):
    page = copied / "report" / "index.html"
    page.unlink()
    assert invoke("report", copied)[1].strip() == str(page)
    assert page.exists()


def test_a_folder_of_studies_has_an_index_and_its_reports_stay(copied):
    pages = [copied / "report" / "index.html", copied.parent / "index.html"]
    before = pages[0].stat().st_mtime_ns
    assert invoke("report", copied.parent)[1].strip() == str(pages[1])
    assert 'href="small/report/index.html"' in pages[1].read_text()
    assert pages[0].stat().st_mtime_ns == before
    assert invoke("report", copied.parent, copied)[1].split() == list(map(str, pages))
    assert pages[0].stat().st_mtime_ns > before


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["list", "networks"],
        ["list", "networks", "densenet_bc"],
        ["list", "studies"],
        ["list", "data"],
        ["list", "probes"],
        ["show"],
    ],
)  # fmt: skip; tests/report/test_page.py checks `report`
def test_the_read_side_never_imports_torch(trained_study, arguments):
    if arguments[0] == "show":
        arguments = [*arguments, str(trained_study.path)]
    code = (
        "import sys; from depthbench.cli.app import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.stderr.strip().splitlines()[-1] == "False"
    assert done.stdout


@pytest.mark.parametrize(
    ("what", "expected"),
    [("networks", "resnet"), ("data", "digits"), ("studies", "quick"), ("probes", "grad_norm_preact")],
)
def test_list(what, expected):
    assert expected in CliRunner().invoke(app, ["list", what]).stdout


def test_the_version():
    assert invoke("--version") == (0, f"depthbench {depthbench_version}\n", "")


@pytest.mark.parametrize(
    ("command", "where", "expected"),
    [
        (["plan", "--depths", "8"], "depthbench.execution.cost.estimate.estimate", "--no-calibrate"),
        (["report", "RESULTS"], "depthbench.report.page.write_page", "small is incomplete (`depthbench"),
        (["compare", "RESULTS", "RESULTS"], "depthbench.report.comparison.write_comparison", "is incomplete"),
        (["bench", "--depths", "8"], "depthbench.bench.command.run_bench", "no results are written"),
    ],
)
def test_ctrl_c_prints_one_line(trained_study, monkeypatch, command, where, expected):
    def pressed(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(where, pressed)
    code, _, complaint = invoke(*[trained_study.path if word == "RESULTS" else word for word in command])
    assert code == 130
    assert complaint.count("\n") == 1
    assert expected in complaint


def test_ctrl_c_during_the_import_prints_one_line(monkeypatch, capsys):
    load = builtins.__import__

    def pressed(name, scope=None, local=None, wanted=(), level=0):
        if name == "depthbench.cli.app":
            raise KeyboardInterrupt
        return load(name, scope, local, wanted, level)

    monkeypatch.setattr(builtins, "__import__", pressed)
    with pytest.raises(SystemExit) as end:
        script()
    assert end.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.slow
def test_ctrl_c_gives_exit_code_130_and_says_how_to_resume(tmp_path):
    command = [
        sys.executable,
        "-m",
        "depthbench",
        "run",
        "--depths",
        "8",
        "--networks",
        "plain",
        "--seeds",
        "1",
        "--steps",
        "100000",
    ]
    running = subprocess.Popen(
        [*command, *SMALL, "--set", "log_every=5", "--results", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("quick/runs/*/run.json")):  # written when training starts
        assert time.monotonic() < deadline
        time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    printed, complaint = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "rerun this command to resume" in complaint
    assert " interrupted, " in printed
    records = [json.loads(p.read_text()) for p in tmp_path.glob("quick/runs/*/run.json")]
    assert {record["status"] for record in records} == {"interrupted"}


@pytest.mark.slow
def test_a_diverged_run_gives_exit_code_1_unless_it_may_diverge(tmp_path):
    run = ["run", "--depths", "8", "--seeds", "1", "--steps", "20", "--networks", "plain", "--set", "lr=1e30",
           "--set", "norm=none", "--results", tmp_path, *SMALL]  # fmt: skip
    code, _, complaint = invoke(*run)
    assert code == 1
    assert "plain-8-s0" in complaint
    assert "diverged" in complaint
    assert (tmp_path / "quick" / "report" / "index.html").exists()
    assert invoke(*run, "--set", 'may_diverge=["plain"]')[0] == 0


@pytest.fixture
def folders(tmp_path):
    """Return a directory with broken image folders and study files."""
    from PIL import Image

    (tmp_path / "empty").mkdir()
    (tmp_path / "one" / "cat").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "one" / "cat" / "1.png")
    (tmp_path / "syntax.toml").write_text("[recipe]\nsteps = 10\nlr =\n")
    (tmp_path / "key.toml").write_text("[recipe]\nlearning = 10\nlrr = 1\n")
    (tmp_path / "type.toml").write_text('[recipe]\nlr = "0.1"\n')
    (tmp_path / "newer.toml").write_text(f"format = {FORMAT + 1}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("--depths 21", "plain: depth 21 is not 6n+2 with n >= 1; use 20 or 26"),
        ("--depths 20,x", "--depths 20,x: 'x' is not a whole number; write e.g. --depths 20,56,110"),
        ("--depths=", "--depths has no value: write e.g. --depths 20,56,110"),
        ("--depths 0", "depth"),
        ("--networks nosuch", "no network is called 'nosuch'; networks: densenet, densenet_bc"),
        ("--networks resnets", "did you mean 'resnet'?"),
        ("--seeds 0", "--seeds 0: the number of seeds is 1 to"),
        ("--seeds -1,2", "grid.seed"),
        ("nosuch", "study 'nosuch': no such study"),
        ("nosuch.toml", "study 'nosuch.toml': no such file"),
        ("{}/syntax.toml", "line 3"),
        ("{}/key.toml", "unknown key 'recipe.lrr'; did you mean 'lr'?"),
        ("{}/type.toml", 'recipe.lr = "0.1": should be a number'),
        (
            "{}/newer.toml",
            f"results format {FORMAT + 1}, but this version of depthbench reads format {FORMAT}",
        ),
        ("--set lrr=1", "unknown key 'lrr'; did you mean 'lr'?"),
        ("--set lr", "is not of the form KEY=VALUE"),
        ("--set every=3", "write probe.every or evaluate.every"),
        ("--set lr=-1", "recipe.lr = -1: should be above 0"),
        ("--steps 0", "recipe.steps = 0: should be at least 1"),
        ("--steps 5 --epochs 2", "steps and epochs exclude each other"),
        ("--device cuda:99", "--device cuda:99"),
        ("--device gpu", "--device gpu: use auto, cpu, cuda"),
        ("--precision fp8", "recipe.precision"),
        ("--precision tf32 --device cpu", "tf32 needs a CUDA device"),
        ("--jobs 0", "--jobs 0: use auto or a whole number"),
        ("--data nosuch", "no such data set, folder or text file"),
        ("--data ./nosuch", "no such folder"),
        ("--data {}/empty", "contains no images"),
        ("--data {}/one", "has only one class ('cat'): add a second class"),
        ("--plugin {}/nosuch.py", "no such file"),
        ("--name a/b", "name"),
        ("--set val_size=100000", "cannot split"),
        (
            '--set evaluate.robustness=["noise"]',
            'robustness[0] = "noise": should be blurred, noisy, ',
        ),
    ],
)
def test_bad_input_prints_one_line_and_writes_nothing(folders, arguments, complaint):
    words = arguments.format(folders).split()
    results = folders / "results"
    done = CliRunner().invoke(
        app, ["run", *words, "--results", str(results), "--data-dir", str(folders / "d")]
    )
    assert isinstance(done.exception, BadInput)
    message = str(done.exception)
    assert complaint in message
    assert "\n" not in message
    assert not results.exists()


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--depths", "8", "--results", "PATH"],
        ["run", "--depths", "8", "--data-dir", "PATH"],
        ["frontier", "plain", "--results", "PATH"],
        ["bench", "--results", "PATH"],
        ["report", "PATH"],
        ["compare", "STUDY", "PATH/small"],
        ["compare", "STUDY", "STUDY/..", "--out", "PATH"],
    ],
)
def test_a_path_that_is_not_utf8_is_refused_before_anything_is_written(trained_study, tmp_path, command):
    path = tmp_path / "caf\udce9"
    (path / "small").mkdir(parents=True)
    shutil.copy(trained_study.path / "study.toml", path / "small")
    words = [w.replace("PATH", str(path)).replace("STUDY", str(trained_study.path)) for w in command]
    with pytest.raises(BadInput, match=r"caf\ufffd(/small)?: its bytes are not UTF-8; rename"):
        invoke(*words)
    assert [file.name for file in path.rglob("*")] == ["small", "study.toml"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["list"], "depthbench: Missing argument 'what'; see `depthbench list --help`"),
        (
            ["run", "--momentun", "0.9"],
            "depthbench: no such flag --momentun; did you mean --set momentum=0.9? See `depthbench",
        ),
        (["run", "--lr", "0.1"], "depthbench: --lr is a setting, not a flag: use --set lr=0.1; see"),
        (
            ["run", "--weight-decay=0"],
            "depthbench: --weight-decay is a setting, not a flag: use --set weight_decay=0",
        ),
        (["run", "--nosuch"], "depthbench: No such option: --nosuch"),
        (
            ["run", "--steps", "x"],
            "depthbench: --steps x: should be a whole number; see `depthbench run --help`",
        ),
        (["frontier", "--below=y"], "depthbench: --below y: should be a number"),
        (["nosuch"], "depthbench: No such command 'nosuch'; see `depthbench --help`"),
    ],
)
def test_a_command_that_cannot_be_parsed_prints_one_line(monkeypatch, capsys, arguments, complaint):
    monkeypatch.setattr(sys, "argv", ["depthbench", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 2
    assert line.startswith(complaint)


def test_a_value_in_an_error_message_is_printed_verbatim(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["depthbench", "run", "--device", "cuda:x:"])
    with pytest.raises(SystemExit):
        main()
    assert "--device cuda:x:: use auto, cpu, cuda" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["report", "results"], ["--version"], []])
def test_only_commands_that_train_run_in_several_processes(monkeypatch, capsys, start_torchrun, words):
    start_torchrun(size=2)
    monkeypatch.setattr("sys.argv", ["depthbench", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "`depthbench run` and `depthbench frontier` only" in capsys.readouterr().err


def test_no_command_prints_help(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["depthbench"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert "frontier" in capsys.readouterr().out


@pytest.mark.slow
def test_bad_input_gives_exit_code_2_without_a_traceback(tmp_path):
    done = depthbench("run", "--depths", "21", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("depthbench: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["show", "report"])
def test_a_directory_without_results(command, tmp_path):
    done = CliRunner().invoke(app, [command, str(tmp_path)])
    assert isinstance(done.exception, BadInput)
    assert "holds no results" in str(done.exception)


def test_two_recipes_into_one_directory(copied):
    before = {p: p.stat().st_mtime_ns for p in copied.rglob("*")}
    words = [
        "run",
        "--depths",
        "8",
        "--steps",
        "11",
        "--name",
        "small",
        *SMALL,
        "--results",
        str(copied.parent),
    ]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, BadInput)
    assert "recipe.steps was 10 and is now 11" in str(done.exception)
    assert {p: p.stat().st_mtime_ns for p in copied.rglob("*")} == before


def test_a_truncated_table_makes_that_run_again(copied):
    file = next(copied.glob("runs/plain-8-s0-*/layers.parquet"))
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    run = ["run", "--depths", "8,14", "--seeds", "1", "--steps", "10", "--name", "small", *SMALL]
    code, printed, _ = invoke(*run, "--results", copied.parent)
    assert code == 0
    assert "its tables are damaged, so it is trained again" in printed
    assert "[1/1] plain-8 seed 0 done" in printed
    assert file.read_bytes() == whole


@pytest.mark.slow
def test_a_folder_of_images_end_to_end(tmp_path):
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 4)):
        for label, bright in (("day", 200), ("night", 40)):
            (tmp_path / "sky" / part / label).mkdir(parents=True)
            for i in range(count):
                pixels = rng.normal(bright, 20, (10, 12, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "sky" / part / label / f"{i}.png")
    (tmp_path / "sky" / "train" / "day" / "broken.png").write_bytes(b"no image")
    run = ["run", "--data", tmp_path / "sky", "--depths", "8", "--seeds", "1", "--steps", "4", *SMALL,
           "--jobs", "1", "--results", tmp_path / "results", "--data-dir", tmp_path / "cache"]  # fmt: skip
    with pytest.raises(BadInput, match=r"1 of 33 images cannot be read \(train/day/broken.png\)"):
        invoke(*run, "--image-size", "8")
    code, printed, _ = invoke(*run, "--image-size", "8", "--skip-bad-images")
    assert code == 0
    assert "left out 1 unreadable image: train/day/broken.png" in printed
    rows = json.loads(invoke("show", tmp_path / "results" / "sky", "--json")[1])
    assert [row["status"] for row in rows] == ["done", "done"]


def test_an_error_of_the_system_is_one_line(monkeypatch, capsys, tmp_path):
    def fail(store):
        raise PermissionError(errno.EACCES, "Permission denied", str(store.study_file))

    monkeypatch.setattr(StudyStore, "table", fail)
    monkeypatch.setattr(sys, "argv", ["depthbench", "report", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    file, advice = tmp_path / "study.toml", "change its permissions, or use another folder"
    assert capsys.readouterr().err.split() == f"depthbench: {file}: Permission denied; {advice}".split()
