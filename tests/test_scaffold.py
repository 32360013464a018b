import ast
import shlex
import shutil

import pytest
from typer.testing import CliRunner

from depthbench.cli.app import app
from depthbench.errors import BadInput
from depthbench.execution.plugin_checks import check_plugin
from depthbench.report import FIGURES
from depthbench.scaffold import KINDS, write_new
from tests.conftest import SMALL, plugins_forgotten


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # also restores what pytest adds to it


def invoke(*words):
    with plugins_forgotten():
        done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_passes_its_test_and_runs_as_printed(kind, tmp_path, monkeypatch):
    printed = invoke("new", kind, f"my-{kind}", "--output", "own folder")
    test, *commands = [shlex.split(line) for line in printed.splitlines()[1:]]
    assert test == ["pytest", f"own folder/test_my_{kind}.py"]
    with plugins_forgotten():
        monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
        options = ["-q", "-p", "no:cacheprovider", "-c", "none.ini", "--rootdir", str(tmp_path)]
        (tmp_path / "none.ini").write_text("[pytest]\n")
        assert pytest.main([*options, *test[1:]]) == 0
    for program, *words in commands:
        assert program == "depthbench"
        if words[0] == "run":  # a study of this size is trained in other tests
            words += ["--dry-run"] if "--dry-run" not in words else []
        invoke(*words)


@pytest.mark.parametrize("kind", ["network", "probe", "dataset"])
def test_the_generated_plugin_trains(kind, tmp_path):
    write_new(kind, "mine")
    words = shlex.split(KINDS[kind].commands[-1].format(file="mine.py", name="mine", study="try"))[1:]
    output = invoke(*words, *SMALL[2:], "--steps", "4", "--depths", "8", "--no-report", "--jobs", "1")
    assert "try" in output
    assert len(list((tmp_path / "results" / "try" / "runs").iterdir())) >= 1


def test_the_generated_figure_is_in_the_report(trained_study, tmp_path, monkeypatch):
    write_new("figure", "mine")
    monkeypatch.setattr("depthbench.report.page.TABLES", {})
    path = shutil.copytree(trained_study.path, tmp_path / "with-figure")
    with plugins_forgotten():  # which also puts the figures back in their order
        for name in set(FIGURES) - {"degradation"}:  # drawing them all takes seconds
            del FIGURES[name]
        invoke("report", str(path), "--plugin", "mine.py")
    assert "Loss by step" in (path / "report" / "index.html").read_text()
    assert (path / "report" / "figures" / "mine.png").exists()


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (
            "netwrok",
            "mine",
            "new netwrok: did you mean 'network'? Kinds: dataset, figure, network, pr",
        ),
        ("network", "plain", "new network plain: depthbench has a network of this name; use another name"),
        ("study", "quick", "new study quick: depthbench has a study of this name"),
        ("network", "torch", "new network torch: Python has a module 'torch' already"),
        ("network", "random", "new network random: Python has a module 'random' already"),
        ("network", "class", "new network class: class is a Python keyword, not the name of a module; use"),
        ("probe", "None", "new probe None: None is a Python keyword"),
        ("network", "../x", "new network '../x': the name should be letters, digits"),
        ("probe", "3d", "new probe '3d': the name should be letters"),
        ("probe", "layer", "new probe layer: the name is that of another column of layers.parquet; use"),
        ("figure", "con", "new figure con: the name is the name of a device on Windows"),
    ],
)
def test_names_that_cannot_be_used_are_refused(kind, name, message, tmp_path):
    with pytest.raises(BadInput) as error:
        write_new(kind, name)
    assert str(error.value).startswith(message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["family", "Family", "Block", "depth_rule", "Tensor", "path", "PLUGIN", "NETWORKS", "none"]
)
def test_the_class_of_a_network_has_a_name_that_its_file_does_not_use(name, tmp_path):
    written = write_new("network", name)
    module, test = (ast.parse(path.read_text()) for path in (written.file, written.test))
    block, network = (node.name for node in module.body if isinstance(node, ast.ClassDef))
    assert (block, network.casefold()) == ("Block", f"{name.replace('_', '')}network".casefold())
    for tree in (module, test):
        defined = [
            alias.asname or alias.name
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        ]
        defined += [
            target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets
        ]
        assert defined.count(network) == (tree is test)
    with plugins_forgotten():
        (checked,) = check_plugin(written.file, depths=[4])
        assert (checked.name, checked.problem) == (name, None)


@pytest.mark.parametrize("taken", ["mine.py", "test_mine.py"])
def test_existing_files_are_not_replaced(tmp_path, taken):
    (tmp_path / taken).write_text("own")
    with pytest.raises(BadInput, match=f"new network mine: {taken} exists; use another name or --output DIR"):
        write_new("network", "mine")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["own"]
