"""Groups of options, and their help."""

import dataclasses
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from depthbench.cli.app import app
from depthbench.cli.options import ExecutionOptions, StudyOptions, expand_options, option
from depthbench.errors import BadInput
from depthbench.execution.settings import Execution

COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    size: Annotated[int, option("How large.")] = 3
    names: Annotated[list[str] | None, option("Which.")] = None


@pytest.mark.parametrize(
    ("arguments", "group", "loud"),
    [
        ([], Group(size=3, names=None), False),
        (["--size", "4", "--names", "a", "--names", "b", "--loud"], Group(size=4, names=["a", "b"]), True),
    ],
)
def test_a_command_receives_its_options_as_one_object(arguments, group, loud):
    received = []
    small = typer.Typer()

    @small.command()
    @expand_options
    def command(group: Group, loud: bool = False) -> None:
        received.append((group, loud))

    done = CliRunner().invoke(small, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert received == [(group, loud)]


def test_every_setting_of_an_execution_has_an_option():
    given = ExecutionOptions(jobs="3", step="eager", recompute=True, device="cpu").settings(fresh=True)
    assert given == Execution(jobs=3, step_mode="eager", recompute=True, device="cpu", fresh=True)
    assert ExecutionOptions().settings() == Execution()
    names = {field.name for field in dataclasses.fields(ExecutionOptions)} | {"fresh"}
    renamed = {"step_mode": "step", "backend": "on"}
    assert {renamed.get(name, name) for name in Execution.__dataclass_fields__} == names


def test_options_change_the_study_that_they_start_from():
    changes = StudyOptions(seeds="2", steps=7, settings=["lr=0.5"], name="mine", precision="bf16")
    study = changes.load("quick", networks="plain", depths="8,14")
    assert (study.name, study.grid.network, study.grid.depth) == ("mine", ["plain"], [8, 14])
    assert (study.grid.seed, study.recipe.steps, study.recipe.lr) == ([0, 1], 7, 0.5)
    assert study.recipe.precision == "bf16"
    with pytest.raises(BadInput, match="plain: depth 9"):
        StudyOptions().load(None, networks="plain", depths="9")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_80_columns(monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    done = CliRunner().invoke(app, [*command.split(), "--help"], catch_exceptions=False)
    assert done.exit_code == 0
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert "…" not in done.stdout
    assert "--help" in done.stdout


def test_every_option_has_help():
    for command in typer.main.get_command(app).commands.values():
        for parameter in command.params:
            assert getattr(parameter, "help", None), (command.name, parameter.name)
