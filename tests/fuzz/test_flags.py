"""Any arguments end with exit code 0, 1 or 2, and bad ones with one line."""

import contextlib
import io
import os
import sys
from functools import cache
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from depthbench.cli.app import app, main
from depthbench.data.load import load_images
from depthbench.errors import BadInput
from tests.fuzz.values import TEXTS, examples, texts
from tests.report.conftest import store_study, study_of

COMMANDS = typer.main.get_command(app).commands
TINY = ["--set", "width=4", "--steps", "4", "--batch-size", "16", "--device", "cpu"]
RESULTS = "made-up"
"""Finished results in the working directory."""
START = {
    "run": ["--depths", "8", "--seeds", "1", *TINY, "--dry-run"],
    "plan": ["--depths", "8", "--seeds", "1", *TINY, "--no-calibrate"],
    "frontier": ["plain", "--deepest", "8", "--seeds", "1", *TINY],
    "bench": [],
    "check": ["mine.py"],
    "report": [RESULTS],
    "compare": [RESULTS, "other"],
    "show": [RESULTS],
    "list": [],
    "new": ["network", "mine"],
    "merge": [RESULTS, "other", "--into", "merged"],
}
NEVER = {"--calibrate", "--install-completion", "--show-completion", "--data-dir"}
PLAUSIBLE = {
    "--depths": ("8", "14,8", "20"),
    "--networks": ("plain", "resnet,plain", "plain_mlp"),
    "--seeds": ("1", "0,3", "2,"),
    "--name": ("other",),
    "--data": ("digits",),
    "--set": ("lr=0.1", "norm=none", "every=2", "probe.every=3", "names=[]", "seed=[1]", "schedule=cosine"),
    "--steps": ("1", "9"),
    "--epochs": ("0.01",),
    "--batch-size": ("1", "32"),
    "--precision": ("bf16", "fp32"),
    "--device": ("cpu", "auto"),
    "--jobs": ("1", "2", "auto"),
    "--step": ("eager", "auto"),
    "--stall-timeout": ("0.5",),
    "--results": (".", "elsewhere"),
    "--on": ("local", "auto"),
    "--pilot": (RESULTS,),
    "--shard": ("1/2", "2/2", "3/2"),
    "--into": ("merged", "elsewhere"),
    "--output": (".", "elsewhere"),
    "--study": ("quick", "he2015-responses-short"),
    "--below": ("50",),
    "--deepest": ("8", "20"),
    "--style": ("page", "paper"),
    "--out": ("out",),
    "--repeats": ("1",),
    "--seconds": ("0.1",),
    "--digits": ("none", "8"),
}
ARGUMENTS = (RESULTS, RESULTS, f"{RESULTS}/../{RESULTS}", ".", "quick", "networks", "probes", "plain")


def is_harmless(value):
    """Return whether a value names no folder with many files."""
    return not value.startswith(("/", "~")) or value == "~nosuchuser"


values = texts.filter(is_harmless)


@st.composite
def commands(draw):
    name = draw(st.sampled_from(sorted(COMMANDS)))
    options = [p for p in COMMANDS[name].params if p.param_type_name == "option" and p.name != "help"]
    words = list(START[name])
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["option"] * 4 + ["argument"] * 2 + ["unknown"]))
        if kind == "option" and options:
            option = draw(st.sampled_from(options))
            flag = draw(st.sampled_from([*option.opts, *option.secondary_opts]))
            if flag in NEVER:
                continue
            plausible = PLAUSIBLE.get(flag, ("1",))
            value = st.one_of(st.sampled_from(plausible), st.sampled_from(plausible), values)
            words += [flag] if option.is_flag else [flag, draw(value)]
        elif kind == "argument":
            words.insert(0, draw(st.sampled_from(ARGUMENTS) | values))
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
        patch.setattr("depthbench.bench.command.measure_engines", stop)
        patch.setattr("depthbench.report.page.draw_figures", lambda *arguments, **options: [])
        for name in (RESULTS, "other"):
            store_study(Path(name), study_of(depths=(8, 14), seeds=(0,)))
        yield folder


def _read(read, data, where, show):
    try:
        return read(data, where)
    except TypeError:  # settings with lists have no hash
        return load_images(data, where, show)


@examples(short=25)
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
    if words[0] in ("run", "plan", "show", "list"):
        assert sorted(os.listdir(".")) == before


def test_the_commands_that_are_changed_are_valid(nothing_is_trained_or_written):
    assert START.keys() == COMMANDS.keys()
    assert len(TEXTS) > 40
