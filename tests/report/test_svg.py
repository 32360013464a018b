from depthbench.report.svg import inline

FILE = """<?xml version="1.0"?>
<!DOCTYPE svg PUBLIC "x" "http://example.org/svg.dtd">
<svg width="7pt" viewBox="0 0 7 7"><metadata><a href="http://example.org"/></metadata>
<defs><style type="text/css">*{fill: red}</style><path id="m1" d="M0"/><clipPath id="p2"/></defs>
<use xlink:href="#m1" clip-path="url(#p2)"/></svg>"""


def test_ids_and_references_are_prefixed_alike():
    text = inline(FILE, "curves", "label")
    assert 'id="curves-m1"' in text
    assert 'href="#curves-m1"' in text
    assert "url(#curves-p2)" in text


def test_ids_without_a_reference_are_removed():
    svg = '<svg><g id="axes_1"/><g id="axes_1"/></svg>'
    assert inline(svg, "x", "label") == '<svg id="x-svg" role="img" aria-label="label"><g/><g/></svg>'


def test_prologue_and_metadata_are_removed():
    text = inline(FILE, "curves", "label")
    assert text.startswith("<svg ")
    assert "example.org" not in text


def test_style_rules_apply_to_this_figure_only():
    assert "#curves-svg *{fill: red}" in inline(FILE, "curves", "label")


def test_label_is_an_escaped_text_alternative():
    text = inline(FILE, "x", 'a < b & "c"')
    assert 'role="img" aria-label="a &lt; b &amp; &quot;c&quot;"' in text


def test_elements_of_a_depth_have_it_as_their_class():
    svg = '<svg><g id="depth-20"><path id="line"/></g><g id="depth-20"/></svg>'
    text = inline(svg, "x", "label")
    assert text.count('<g class="depth-20"') == 2
    assert 'class="depth-20 depth-56"' in inline('<svg><g id="depth-20-56"/></svg>', "name", "what it shows")
    assert "id=" not in text.partition(">")[2]
