import io
import sys

import pytest
from typer.testing import CliRunner

from depthbench.cli.app import app
from depthbench.cli.consent import Consent
from depthbench.errors import BadInput
from tests.conftest import plugins_forgotten

COMMANDS = [
    ["run", "STUDY", "--dry-run", "--depths", "8"],
    ["plan", "STUDY", "--no-calibrate", "--depths", "8"],
    ["frontier", "mine", "--study", "STUDY", "--deepest", "1"],
]
PLUGIN = """
from pathlib import Path
Path(__file__).with_name("executed").touch()
NETWORKS = {"mine": dict}
"""


@pytest.fixture
def given(tmp_path):
    """The folder of a study file that someone else wrote. Its plug-in leaves a trace when it is executed."""
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "their.py").write_text(PLUGIN)
    (tmp_path / "given" / "study.toml").write_text('plugins = ["their.py"]\n')
    with plugins_forgotten():
        yield tmp_path / "given"


def executes(folder):
    return (folder / "executed").exists()


def invoke(command, given, *more):
    """Return what the command raised, if anything, and its output."""
    words = [str(given / "study.toml") if word == "STUDY" else word for word in command]
    done = CliRunner().invoke(app, [*words, "--results", str(given.parent / "results"), *more])
    return done.exception, done.output


@pytest.mark.parametrize("command", COMMANDS)
def test_a_plugin_of_a_study_file_is_not_executed_without_consent(given, command):
    refused, _ = invoke(command, given)
    plugin = given / "their.py"
    assert isinstance(refused, BadInput)
    assert str(refused) == (
        f"{given / 'study.toml'} wants to execute {plugin}: read that file first, then add --plugin {plugin} "
        "or --trust-plugins"
    )
    assert not executes(given)
    assert not (given.parent / "results").exists()


def test_the_question_names_the_files_that_a_plugin_imports(given):
    (given / "their.py").write_text("import helper\n" + PLUGIN)
    (given / "helper.py").write_text("")
    refused, _ = invoke(COMMANDS[0], given)
    plugin = given / "their.py"
    assert f"wants to execute {plugin} and, next to it, helper.py: read these files first" in str(refused)


@pytest.mark.parametrize("consent", [["--trust-plugins"], ["--plugin", "PLUGIN"], ["--plugin", "LINK"]])
def test_a_plugin_that_is_named_or_trusted_is_executed(given, consent):
    (given.parent / "link.py").symlink_to(given / "their.py")
    names = {"PLUGIN": str(given / "their.py"), "LINK": str(given.parent / "link.py")}
    refused, printed = invoke(COMMANDS[0], given, *[names.get(word, word) for word in consent])
    assert refused is None, printed
    assert executes(given)


def test_another_file_of_the_same_name_gives_no_consent(given):
    own = given.parent / "their.py"
    own.write_text("NETWORKS = {'own': dict}\n")
    refused, _ = invoke(COMMANDS[0], given, "--plugin", str(own))
    assert "wants to execute" in str(refused)
    assert not executes(given)


@pytest.mark.parametrize(
    ("answer", "is_agreed"), [("y\n", True), ("Yes\n", True), ("\n", False), ("", False)]
)
def test_on_a_terminal_the_user_is_asked(given, monkeypatch, capsys, answer, is_agreed):
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    study, plugin = given / "study.toml", given / "their.py"
    try:
        Consent().check(study, plugin)
    except BadInput:
        assert not is_agreed
    else:
        assert is_agreed
    asked = capsys.readouterr().err
    assert asked.startswith(f"{study} wants to execute {plugin}. Execute it? [y/N]")


def test_a_plugin_that_does_not_exist_is_reported_and_not_asked_for(tmp_path):
    with pytest.raises(BadInput, match=r"its plug-in .*gone.py does not exist; correct `plugins`"):
        Consent().check(tmp_path / "study.toml", tmp_path / "gone.py")
