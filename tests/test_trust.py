"""Results from anyone: reading them executes and unpickles nothing, and shows names as text."""

import json
import math
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from depthbench import load_predictions, load_results
from depthbench.cli.app import app
from depthbench.plugins.loading import Plugin
from depthbench.report import FIGURES
from depthbench.store.plugin_copies import write_copies
from depthbench.store.study_store import StudyStore
from tests.conftest import SMALL, plugins_forgotten
from tests.report.conftest import store_study, study_of

PLUGIN = """
from pathlib import Path
Path(__file__).with_name("executed").touch()
NETWORKS = {"theirs": dict}
"""
OWN_PLUGIN = """
from torch import nn

def build(depth, in_channels, num_classes, width):
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, num_classes))

NETWORKS = {"own": build}
"""
NAME = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(autouse=True)
def few_figures(monkeypatch):
    """Draw some figures, in this process."""
    few = {name: FIGURES[name] for name in ("degradation", "curves", "confusion", "gradient_preact")}
    monkeypatch.setattr("depthbench.report.page.FIGURES", few)
    monkeypatch.setattr("depthbench.report.drawing.MANY_FIGURES", math.inf)


@pytest.fixture
def given(trained_study, tmp_path):
    """Finished results from someone else, whose study names a plug-in that leaves a trace."""
    path = shutil.copytree(trained_study.path, tmp_path / "results" / "small")
    (path / "their.py").write_text(PLUGIN)
    write_copies(path, [Plugin.read(path / "their.py")])
    file = path / "study.toml"
    file.write_text(file.read_text().replace("plugins = []", f'plugins = ["{path / "their.py"}"]'))
    with plugins_forgotten():
        yield path


@pytest.fixture
def unpickled():
    """The classes and functions that were looked up for a pickle."""
    found: list[str] = []
    LISTENERS.append(found)
    yield found
    LISTENERS.remove(found)


LISTENERS: list[list[str]] = []


def _listen(event, arguments):
    if event == "pickle.find_class":
        for found in LISTENERS:
            found.append(".".join(map(str, arguments)))


sys.addaudithook(_listen)  # a hook cannot be removed


def invoke(*words):
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_reading_results_executes_and_unpickles_nothing(given, unpickled, tmp_path):
    other = shutil.copytree(given, given.parent / "other")
    invoke("show", given)
    invoke("show", given, "--json")
    invoke("report", given)
    invoke("report", given.parent)
    invoke("compare", given, other)
    invoke("plan", "--depths", "8", "--no-calibrate", "--device", "cpu", "--pilot", given)
    invoke("merge", given, other, "--into", tmp_path / "merged")
    load_results(given)
    load_predictions(given)
    assert not list(tmp_path.rglob("executed"))
    assert unpickled == []


def test_the_hook_notices_a_pickle(unpickled):
    import pickle

    pickle.loads(pickle.dumps(Path("x")))
    assert unpickled


def test_a_plugin_that_stored_results_name_is_not_executed_by_a_run_that_joins_them(given, tmp_path):
    own = tmp_path / "own.py"
    own.write_text(OWN_PLUGIN)
    run = [
        "run",
        "--name",
        "small",
        *SMALL,
        "--networks",
        "own",
        "--depths",
        "8",
        "--seeds",
        "1",
        "--steps",
        "10",
    ]
    invoke(*run, "--results", given.parent, "--plugin", own, "--no-report", "--jobs", "1")
    assert not list(given.rglob("executed"))
    assert StudyStore(given).table()["plugins"] == [str(given / "their.py"), str(own)]
    assert len(load_results(given).runs) == 5


class Elements(HTMLParser):
    """The elements of a page that can execute code or load something."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found += [tag] * (tag in ("script", "img", "iframe", "object"))
        self.found += [name for name, _ in attributes if name.startswith("on")]


def test_names_in_results_are_text_on_every_page_and_in_the_terminal(tmp_path):
    pages = {}
    for folder in ("harmless", "hostile"):
        path = store_study(tmp_path / folder / "made-up", study_of(depths=(8, 14), seeds=(0,)))
        if folder == "hostile":
            deface(path)
        assert "\x1b" not in invoke("show", path)
        invoke("report", path)
        invoke("report", path.parent)
        for page in (path / "report" / "index.html", path.parent / "index.html"):
            text = page.read_text(encoding="utf-8")
            pages[folder, page.parent.name] = Elements(text).found
            assert ("&lt;script&gt;alert(1)" in text) == (folder == "hostile")
    assert pages["hostile", "report"] == pages["harmless", "report"]
    assert pages["hostile", "hostile"] == pages["harmless", "harmless"]


def deface(path):
    """Put code into the names of stored results."""
    file = path / "study.toml"
    file.write_text(file.read_text().replace('name = "made-up"', f"name = {json.dumps(NAME)}"))
    for file in path.glob("runs/*/run.json"):
        record = json.loads(file.read_text())
        record["network"] = NAME + record["network"]
        record["reason"] = record["environment"]["torch"] = f"\x1b[2J{NAME}"
        record["classes"] = [f"{NAME}{k}" for k in range(10)]
        file.write_text(json.dumps(record))
