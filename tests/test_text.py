import pytest

from depthbench.text import printable, readable


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
