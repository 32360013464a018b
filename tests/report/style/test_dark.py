from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from depthbench.report.style import canvas, layout, palette
from depthbench.report.style.dark import dark_variant, themed
from tests.report.style.vision import DARK_PAPER, VISIONS, WHITE_PAPER, contrast, least_difference

FAR, NEAR = 15, 10  # as on the white page


def variants(colours):
    return [dark_variant(colour) for colour in colours]


def test_the_papers_are_those_of_the_page():
    parts = [
        f.read_text() for f in files("depthbench.report").iterdir() if f.name.endswith((".css", ".html"))
    ]
    assert any(DARK_PAPER in part for part in parts)
    assert canvas.PAPER == WHITE_PAPER


@pytest.mark.parametrize("vision", VISIONS)
def test_networks_differ_for_every_colour_vision(vision):
    assert least_difference(variants(palette.COLOURS[:6]), vision) > FAR


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("count", range(2, 8))
def test_depths_differ_for_every_colour_vision(vision, count):
    assert least_difference(variants(palette.depth_colours(range(count)).values()), vision) > NEAR


@pytest.mark.parametrize("colour", dict.fromkeys([*palette.COLOURS, *palette.CONTRASTING, palette.GREY]))
def test_every_line_stands_out_on_the_dark_page(colour):
    assert contrast(dark_variant(colour), DARK_PAPER) > 3


@pytest.mark.parametrize("count", [*range(2, 8), 12])
def test_deeper_has_more_contrast(count):
    colours = variants(palette.depth_colours(range(count)).values())
    contrasts = [contrast(colour, DARK_PAPER) for colour in colours]
    assert contrasts[0] > 3
    assert all(a < b for a, b in pairwise(contrasts))


def test_lines_in_the_background_stay_there():
    assert contrast(dark_variant(palette.BACKGROUND), DARK_PAPER) < 2.5


def test_colours_follow_the_page():
    """Lines, markers, patches and texts do; the cells of a heat map keep their scale."""
    figure = Figure()
    axes, below = figure.subplots(2)
    axes.plot([0, 1], color="#cf4705", markerfacecolor="#07537a", markeredgecolor="none")
    axes.scatter([0], [1], color="#4e8e65")
    axes.add_patch(Rectangle((0, 0), 1, 1, facecolor="#8873f5", edgecolor=canvas.GRID))
    axes.text(0, 0, "a", color="#b5789a")
    mesh = below.pcolormesh(np.array([[0.0, 1.0]]), cmap="viridis")
    cell = "#440154"
    svg = f"#cf4705 #07537A #4e8e65 #8873f5 #b5789a {canvas.INK} {canvas.GRID} {canvas.PAPER} {cell}"
    text = themed(svg, figure)
    for colour in ("#cf4705", "#07537a", "#4e8e65", "#8873f5", "#b5789a"):
        assert f"light-dark({colour}, {dark_variant(colour)})" in text
    assert text.endswith(f"var(--ink) var(--grid) var(--paper) {cell}")
    assert mesh.get_array() is not None


def test_a_variant_is_always_a_colour_of_a_screen():
    for colour in ("#000000", "#ffffff", "#ff0000", "#00ff00", "#0000ff"):
        assert len(dark_variant(colour)) == 7


def test_cells_of_a_heat_map_and_their_numbers_keep_their_colours():
    with canvas.styled():
        figure, panels = layout.grid(1, 1, 1.0, "title")
        axes = panels[0, 0]
        axes.pcolormesh([[1, 2], [3, 4]])
        axes.text(0.5, 0.5, "7", color="#fcfcfd")
        axes.plot([0, 1], [0, 1], color="#0072b2")
    text = themed("#fcfcfd #0072b2 #1c1c1d", figure)
    number, line, ink = text.split(" ", 1)[0], text[8:-11], text[-10:]
    assert number == "#fcfcfd"
    assert line.startswith("light-dark(#0072b2, #")
    assert ink == "var(--ink)"
