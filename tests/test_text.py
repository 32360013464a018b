import ast
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

import depthbench
from depthbench.text import printable, readable, shell


def test_bytes_that_are_not_text_are_shown_as_replaced():
    assert readable("caf\udce9") == "caf\ufffd"
    assert readable("café") == "café"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\ufffd[2Jb"),  # would clear the screen
        ("a\rb\x07", "a\ufffdb\ufffd"),
        ("a\u202eb", "a\ufffdb"),  # would reverse the direction of text
        ("a\tb\n  größe 網 \u00a0x", "a\tb\n  größe 網 \u00a0x"),
    ],
)
def test_text_that_acts_on_a_terminal_is_shown_as_replaced(text, shown):
    assert printable(text) == shown


def test_surrogates_that_stand_for_no_bytes_can_be_stored():
    assert printable("a\ud800\udce9").isprintable()
    printable("a\ud800\udce9").encode()


def test_a_command_can_be_pasted_into_a_shell():
    words = ["depthbench", "report", "it's $HOME; `rm` *", Path("a b")]
    assert shlex.split(shell(*words)) == [str(word) for word in words]


COMMANDS = "run|report|show|merge|compare|plan|frontier|check|new"
COMMAND = re.compile(rf"(depthbench ({COMMANDS}) [^`]*|tensorboard --logdir |(add|with|use) --[a-z]+ )$")
"""The text before a value that is part of a command to paste."""


def test_only_shell_puts_values_into_the_commands_of_messages():
    for file in Path(depthbench.__file__).parent.rglob("*.py"):
        source = file.read_text(encoding="utf-8")
        assert "import shlex" not in source or file.name == "text.py", file
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.JoinedStr):
                for text, value in pairwise(node.values):
                    is_in_command = isinstance(text, ast.Constant) and COMMAND.search(text.value)
                    assert not is_in_command or ast.unparse(value).startswith("{shell("), (file, text.value)
