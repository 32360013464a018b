from itertools import pairwise

import pytest

from depthbench.report.style import canvas, palette
from tests.report.style.vision import VISIONS, WHITE_PAPER, contrast, least_difference

NETWORKS = [look["color"] for look in palette.network_looks([f"network {i}" for i in range(6)]).values()]
FAR = 15  # CIEDE2000: networks, which differ also by marker and dashes
NEAR = 10  # depths, which are also in order


def depths(count):
    return list(palette.depth_colours(range(count)).values())


@pytest.mark.parametrize("vision", VISIONS)
def test_networks_differ_for_every_colour_vision(vision):
    assert least_difference(NETWORKS, vision) > FAR


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("count", range(2, 8))
def test_depths_differ_for_every_colour_vision(vision, count):
    assert least_difference(depths(count), vision) > NEAR


@pytest.mark.parametrize("vision", VISIONS)
def test_studies_differ_for_every_colour_vision(vision):
    looks = palette.study_looks([f"study {i}" for i in range(6)])
    assert least_difference([look["color"] for look in looks.values()], vision) > FAR


@pytest.mark.parametrize(
    "colour", dict.fromkeys([*palette.COLOURS, *palette.CONTRASTING, palette.GREY, canvas.INK])
)
def test_every_line_stands_out_on_paper(colour):
    assert contrast(colour, WHITE_PAPER) > 3


@pytest.mark.parametrize("count", [*range(2, 8), 12])
def test_deeper_has_more_contrast_and_no_depth_is_pale(count):
    contrasts = [contrast(colour, WHITE_PAPER) for colour in depths(count)]
    assert contrasts[0] > 3
    assert all(a < b for a, b in pairwise(contrasts))


def test_lines_in_the_background_are_paler_than_all_others():
    assert contrast(palette.BACKGROUND, WHITE_PAPER) < 2


def test_nested_lines_are_all_visible():
    widths = list(palette.nested_widths([8, 20, 56]).values())
    assert widths == sorted(widths)
    assert widths[-1] > 1.5 * widths[0]


def test_depth_colours_do_not_depend_on_the_given_order():
    assert palette.depth_colours([56, 20, 20]) == palette.depth_colours([20, 56])
    assert list(palette.depth_colours([20])) == [20]


def test_networks_differ_by_more_than_colour():
    looks = palette.network_looks(["plain", "resnet", "mine"])
    assert len({look["marker"] for look in looks.values()}) == 3
    assert len({look["dashes"] for look in looks.values()}) == 3


def test_many_networks_all_look_different():
    looks = palette.network_looks([f"network {i}" for i in range(40)]).values()
    assert len({(look["color"], look["marker"]) for look in looks}) == 40  # points have no dashes
