"""Shell completion, called as bash calls it."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from depthbench.cli.app import app


def complete(monkeypatch, words):
    """Return the completions of the last word of a command line in bash."""
    monkeypatch.setenv("_DEPTHBENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    done = CliRunner().invoke(app, [], prog_name="depthbench")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("depthbench fro", ["frontier"]),
        ("depthbench run qui", ["quick-text", "quick"]),
        ("depthbench run --networks plain,resnet_m", ["plain,resnet_mlp"]),
        ("depthbench run --netw", ["--networks"]),
        ("depthbench frontier preresnet", ["preresnet", "preresnet_bottleneck"]),
        ("depthbench plan --data dig", ["digits"]),
        ("depthbench run --step c", ["captured", "compiled"]),
        ("depthbench run --device c", ["cpu", "cuda"]),
        ("depthbench bench --precision f", ["fp32"]),
        ("depthbench report --style s", ["slides"]),
        ("depthbench list st", ["studies"]),
        ("depthbench list networks densenet_", ["densenet_bc", "densenet_imagenet"]),
        ("depthbench list settings pro", ["probe"]),
        ("depthbench list data pro", []),
        ("depthbench run ./no", []),  # the shell then completes files
    ],
)
def test_names_are_completed(monkeypatch, words, expected):
    assert complete(monkeypatch, words) == expected


def test_completion_imports_neither_torch_nor_pandas():
    code = (
        "import sys; from depthbench.cli.app import main\n"
        "try: main()\n"
        "finally: print([m for m in ('torch', 'pandas') if m in sys.modules], file=sys.stderr)"
    )
    words = "depthbench run --networks pla"
    shell = {"_DEPTHBENCH_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | shell, capture_output=True, text=True
    )
    assert done.stderr.strip() == "[]"
    assert "plain_mlp" in done.stdout.split()


def test_completion_can_be_installed(monkeypatch):
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).stdout
    monkeypatch.setenv("_DEPTHBENCH_COMPLETE", "source_bash")
    script = CliRunner().invoke(app, [], prog_name="depthbench").stdout
    assert "complete -o default -F _depthbench_completion depthbench" in script
