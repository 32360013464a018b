from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
from matplotlib import colormaps
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
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], color="#cf4705", markerfacecolor="#07537a", markeredgecolor="none")
    axes.scatter([0], [1], color="#4e8e65")
    axes.add_patch(Rectangle((0, 0), 1, 1, facecolor="#8873f5", edgecolor=canvas.GRID))
    axes.text(0, 0, "a", color="#b5789a")
    svg = f"#cf4705 #07537A #4e8e65 #8873f5 #b5789a {canvas.INK} {canvas.GRID} {canvas.PAPER} #440154"
    text = themed(svg, figure)
    for colour in ("#cf4705", "#07537a", "#4e8e65", "#8873f5", "#b5789a"):
        assert f"light-dark({colour}, {dark_variant(colour)})" in text
    assert text.endswith("var(--ink) var(--grid) var(--paper) #440154")  # no part has the last one


def test_a_variant_is_always_a_colour_of_a_screen():
    for colour in ("#000000", "#ffffff", "#ff0000", "#00ff00", "#0000ff"):
        assert len(dark_variant(colour)) == 7


@pytest.mark.parametrize("is_picture", [False, True])
def test_cells_and_their_numbers_follow_the_page_unless_they_are_a_picture(is_picture):
    """Otherwise cells of zero would be white on a dark page."""
    with canvas.styled():
        figure, panels = layout.grid(1, 1, 1.0, "title")
        axes = panels[0, 0]
        values = np.ma.masked_equal([[0.0, 1.0], [3.0, 4.0]], 0)
        cmap = colormaps["Blues"].with_extremes(bad=canvas.PAPER)
        axes.pcolormesh(values, cmap=cmap, rasterized=is_picture)
        axes.text(0.5, 0.5, "7", color="#fcfcfd")
        axes.plot([0, 1], [0, 1], color="#0072b2")
        figure.draw_without_rendering()
    lightest, darkest, number = "#f7fbff", "#08306b", "#fcfcfd"
    text = themed(f"#0072b2 {canvas.PAPER} {lightest} {darkest} {number}", figure)
    assert text.startswith("light-dark(#0072b2, #")
    assert "var(--paper)" in text
    if is_picture:
        assert text.endswith(f"{lightest} {darkest} {number}")
    else:
        few, all_of_them, on_cell = (light_on_dark(text, colour) for colour in (lightest, darkest, number))
        assert contrast(few, DARK_PAPER) < 1.5  # close to the page, as on a white one
        assert contrast(all_of_them, on_cell) > 7


def light_on_dark(text, colour):
    """The dark variant of a colour in themed text."""
    return text.partition(f"light-dark({colour}, ")[2][:7]
