import pytest

from tests.report.style.vision import contrast, difference, lab


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [  # from the test data of Sharma, Wu and Dalal 2005, Table 1
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_differences_are_those_of_the_paper(one, other, expected):
    assert difference(one, other) == pytest.approx(expected, abs=1e-4)


def test_black_on_white_has_the_largest_contrast():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert lab("#ffffff") == pytest.approx([100, 0, 0], abs=0.02)


def test_red_and_green_are_alike_without_red_or_green_cones():
    colours = "#d2665a", "#8d8a5a"
    full, deuteranopia = (difference(*(lab(c, v) for c in colours)) for v in ("full", "deuteranopia"))
    assert deuteranopia < full / 2
