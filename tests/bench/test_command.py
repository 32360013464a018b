"""`depthbench bench` end to end, as small as possible, and bad input."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from typer.testing import CliRunner

from depthbench.bench import command, measure
from depthbench.cli.app import app
from depthbench.errors import BadInput
from tests.processes import Forked


def invoke(*arguments):
    return CliRunner().invoke(app, ["bench", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Run a small benchmark on one core. Returns its folder and the printed text."""
    results = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "usable_cores", lambda: 1)
        patch.setattr(command, "cpu_name", lambda: "Fast (R) CPU")
        patch.setattr(measure, "CADENCE", 20)
        patch.setattr("depthbench.execution.process.Popen", Forked)
        done = invoke(
            "--depths", "none", "--digits", "8", "--device", "cpu", "--jobs", 1, "--repeats", 2, "--seconds",
            0.05, "--results", results,
        )  # fmt: skip
    assert done.exit_code == 0
    return results / "fast-r-cpu-1-core", done.stdout


def test_all_files_are_written(written):
    folder, printed = written
    names = {f"bench.{suffix}" for suffix in ("csv", "md", "json", "svg", "png")}
    assert {path.name for path in folder.iterdir()} == names
    assert "digits-8" in printed
    assert "images per second: depthbench, 1 job / conventional, 1 job" in printed
    about = json.loads((folder / "bench.json").read_text())
    assert about["environment"]["torch"]
    assert about["floor"]["digits-8"]["operations"] > 0
    assert about["command"].startswith("depthbench bench --depths none --digits 8 --device cpu --jobs 1 ")
    page = (folder / "bench.md").read_text()
    assert f"`{about['command']}`" in page
    assert "| digits-8 | fraction of the ceiling: depthbench, 1 job |" in page


@pytest.mark.parametrize(("load", "warns"), [(64.0, True), (0.0, False)])
def test_an_interrupted_benchmark_leaves_no_empty_folder(tmp_path, monkeypatch, load, warns):
    """It also warns first if the machine is busy."""

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(command, "measure", interrupt)
    done = invoke("--depths", "none", "--digits", "8", "--device", "cpu", "--results", tmp_path)
    assert done.exit_code == 130
    assert list(tmp_path.iterdir()) == []
    assert ("the machine is busy (load 64.0 on" in done.stdout) == warns


def test_every_arm_has_a_row_in_every_repeat(written):
    rows = pd.read_csv(written[0] / "bench.csv")
    arms = ["conventional, 1 job", "depthbench, 1 job", "ceiling, 1 job, multiply", "ceiling, 1 job, copy"]
    for arm in arms:
        assert list(rows.loc[rows["arm"] == arm, "repeat"]) == [0, 1]
    assert (rows["seconds"] > 0).all()
    ratios = pd.DataFrame(json.loads((written[0] / "bench.json").read_text())["ratios"])
    assert (ratios["low"] <= ratios["median"]).all()
    assert (ratios["median"] <= ratios["high"]).all()
    assert set(ratios["how"]) == {"measured", "computed"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--depths", "20,x"], "--depths 20,x: use a list of depths"),
        (["--depths", "21"], "--depths: depth 21 .*use 20 or 26"),
        (["--depths", "none", "--digits", "none"], "nothing to measure"),
        (["--repeats", "0"], "--repeats 0: should be 1 to 100"),
        (["--seconds", "-1"], "--seconds -1.0: should be 0.01 to 60"),
        (["--jobs", "0"], "--jobs 0: use auto or a whole number"),
        (["--batch-size", "1"], "--batch-size 1: should be 2 to 50000"),
        (["--precision", "fp16"], "--precision fp16: use fp32, tf32 or bf16"),
        (["--precision", "tf32", "--device", "cpu"], "tf32 needs a CUDA device"),
        (["--device", "tpu"], "--device tpu"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(BadInput, match=message):
        invoke(*arguments)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["--depths", "21"]])
def test_help_and_bad_input_never_import_torch(arguments):
    code = (
        "import sys; from depthbench.cli.app import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "bench", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr.strip().splitlines()[-1] == "False"
