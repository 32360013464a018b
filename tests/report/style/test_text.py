import pytest

from depthbench.report.style import text


@pytest.mark.parametrize(
    ("value", "shortened"), [(0, "0"), (500, "500"), (1500, "1.5k"), (64e3, "64k"), (2e6, "2M")]
)
def test_step_counts_are_short(value, shortened):
    assert text.short_count(value) == shortened


def test_long_texts_are_broken_where_the_canvas_ends():
    words = " ".join(["word"] * 40)
    lines = text.wrapped(words, 5.0, 9).splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) * 0.5 * 9 / 72 < 5


def test_powers_of_ten_are_text():
    assert [text.power_of_ten(x) for x in (1, 1e-3, 1e12)] == ["10⁰", "10⁻³", "10¹²"]


@pytest.mark.parametrize(
    ("families", "label"),
    [
        (["plain", "a plug-in's"], "depth (weighted layers)"),
        (["transformer", "plain_transformer"], "depth (blocks)"),
        (["transformer", "resnet"], "depth (weighted layers or blocks)"),
        ([], "depth (weighted layers)"),
    ],
)
def test_the_axis_of_depths_says_what_they_count(families, label):
    assert text.depth_label(families) == label
