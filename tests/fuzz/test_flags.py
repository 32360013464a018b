"""Any arguments end with exit code 0, 1 or 2, and bad ones with one line."""

import contextlib
import io
import os
import sys
from functools import cache

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from depthbench.cli.app import app, main
from depthbench.data.load import load_images
from depthbench.errors import BadInput
from tests.fuzz.values import TEXTS, examples, texts

COMMANDS = typer.main.get_command(app).commands
TINY = ["--set", "width=4", "--steps", "4", "--batch-size", "16", "--device", "cpu"]
START = {
    "run": ["--depths", "8", "--seeds", "1", *TINY, "--dry-run"],
    "plan": ["--depths", "8", "--seeds", "1", *TINY, "--no-calibrate"],
    "frontier": ["plain", "--deepest", "8", "--seeds", "1", *TINY],
    "bench": [],
    "report": [],
    "compare": [],
    "show": [],
    "list": [],
}
NEVER = {"--calibrate", "--install-completion", "--show-completion", "--data-dir"}
VALUES = ("plain", "8", "quick", "he2015-responses-short", "digits", "lr=0.1", "norm=none", "eager", "1.5")


def is_harmless(value):
    """Return whether a value names no folder with many files."""
    return not value.startswith(("/", "~")) or value == "~nosuchuser"


values = (st.sampled_from(VALUES) | texts).filter(is_harmless)


@st.composite
def commands(draw):
    name = draw(st.sampled_from(sorted(COMMANDS)))
    options = [p for p in COMMANDS[name].params if p.param_type_name == "option" and p.name != "help"]
    words = list(START[name])
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["option", "option", "option", "argument", "unknown"]))
        if kind == "option" and options:
            option = draw(st.sampled_from(options))
            flag = draw(st.sampled_from([*option.opts, *option.secondary_opts]))
            if flag in NEVER:
                continue
            words += [flag] if option.is_flag else [flag, draw(values)]
        elif kind == "argument":
            words.insert(0, draw(values))
        else:
            words.append(draw(values))
    return [name, *words]


@pytest.fixture(scope="module", autouse=True)
def nothing_is_trained_or_written(tmp_path_factory):
    """Stay in an empty folder, read images once, and stop before training, measuring and drawing."""

    def stop(*arguments, **options):
        raise BadInput("the test stops here")

    folder = tmp_path_factory.mktemp("flags") / "deep" / "deeper"
    folder.mkdir(parents=True)
    read = cache(load_images)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HOME", str(folder))
        patch.setattr("depthbench.execution.plan.load_images", lambda data, *more: _read(read, data, *more))
        patch.setattr("depthbench.execution.frontier.execute", stop)
        patch.setattr("depthbench.bench.command.measure", stop)
        yield folder


def _read(read, data, where, show):
    try:
        return read(data, where)
    except TypeError:  # settings with lists have no hash
        return load_images(data, where, show)


@examples(short=40)
@given(words=commands())
def test_any_arguments_end_with_one_line_at_most(nothing_is_trained_or_written, words):
    before = sorted(os.listdir("."))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["depthbench", *words])
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
    complaint = err.getvalue()
    assert code in (0, 1, 2), complaint
    assert "Traceback" not in complaint
    if code:
        assert len(complaint.splitlines()) == 1 or "--json" in words, complaint
        assert complaint.strip()
    if words[0] != "bench":
        assert sorted(os.listdir(".")) == before


def test_the_commands_that_are_changed_are_valid(nothing_is_trained_or_written):
    assert START.keys() == COMMANDS.keys()
    assert len(TEXTS) > 40
