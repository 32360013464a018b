import io

import pytest

from depthbench.cli.terminal import make_console


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_pipe_is_no_terminal_even_if_colours_are_forced(stream, monkeypatch):
    """Notebooks and some CI services set FORCE_COLOR, and a spinner would print each of its frames."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    pipe = io.StringIO()
    monkeypatch.setattr(f"sys.{stream}", pipe)
    console = make_console(stderr=stream == "stderr")
    with console.status("checking"):
        console.print("[red]x[/red]")
    assert (console.is_terminal, console.width, pipe.getvalue()) == (False, 120, "x\n")
