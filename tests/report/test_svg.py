import pytest
from matplotlib.figure import Figure

from depthbench.report.style import saving, tags
from depthbench.report.svg import AXIS, classes, inline, mark

FILE = """<?xml version="1.0"?>
<!DOCTYPE svg PUBLIC "x" "http://example.org/svg.dtd">
<svg width="7pt" viewBox="0 0 7 7"><metadata><a href="http://example.org"/></metadata>
<defs><style type="text/css">*{fill: red}</style><path id="m1" d="M 0 0"/><clipPath id="p2"/></defs>
<use xlink:href="#m1" clip-path="url(#p2)"/></svg>"""


def test_ids_and_references_are_prefixed_alike():
    text = inline(FILE, "curves", "label")
    assert 'id="curves-m1"' in text
    assert 'href="#curves-m1"' in text
    assert "url(#curves-p2)" in text


def test_ids_without_a_reference_are_removed():
    svg = '<svg><g id="axes_1"/><g id="axes_1"/></svg>'
    assert inline(svg, "x", "label") == '<svg id="x-svg" role="group" aria-label="label"><g/><g/></svg>'


def test_prologue_and_metadata_are_removed():
    text = inline(FILE, "curves", "label")
    assert text.startswith("<svg ")
    assert "example.org" not in text


def test_style_rules_apply_to_this_figure_only():
    assert "#curves-svg *{fill: red}" in inline(FILE, "curves", "label")


def test_label_is_an_escaped_text_alternative():
    text = inline(FILE, "x", 'a < b & "c"')
    assert 'role="group" aria-label="a &lt; b &amp; &quot;c&quot;"' in text


@pytest.mark.parametrize(
    ("depths", "network", "expected"),
    [
        ((20,), "", "depth-20"),
        ((20, 56), "plain", "depth-20 depth-56 network-plain"),
        ((), "my net: v1.5 (ü)", "network-my%20net%3A%20v1%2E5%20%28%C3%BC%29"),
        ((), "", ""),
    ],
)
def test_a_mark_becomes_classes_that_a_script_finds(depths, network, expected):
    assert classes(mark(depths, network)) == expected
    text = inline(f'<svg><g id="{mark(depths, network)}"><path id="line"/></g></svg>', "x", "label")
    assert f'<g class="{expected}"><path/></g>' in text


def test_different_names_have_different_classes():
    names = ["a.b", "a-b", "a_b", "a b", "a%2Eb", "a:b", "ä"]
    assert len({classes(mark(network=name)) for name in names}) == len(names)


def test_parts_that_show_the_same_have_the_same_classes():
    marked = mark([20], "plain")
    text = inline(f'<svg><g id="{marked}"/><g id="{marked}"/></svg>', "x", "label")
    assert text.count('<g class="depth-20 network-plain"/>') == 2
    assert "id=" not in text.partition(">")[2]


def test_axes_and_legends_become_classes():
    text = inline(f'<svg><g id="{AXIS}"/><g id="legend_1"/><g id="legend_2"/></svg>', "x", "label")
    assert text.endswith('<g class="axis"/><g class="legend"/><g class="legend"/></svg>')


def test_marks_of_a_drawn_figure_are_found(tmp_path):
    figure = Figure()
    axes = figure.subplots()
    with tags.tagged(axes, 20, network="plain"):
        axes.plot([0, 1], [0, 1])
    saving.save(figure, tmp_path / "x", (".svg",))
    text = inline((tmp_path / "x.svg").read_text(encoding="utf-8"), "x", "label")
    assert '<g class="depth-20 network-plain">' in text
