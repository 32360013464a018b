import numpy as np
import pytest
from matplotlib.figure import Figure

from depthbench.report.style.norms import RESOLVED, NormScale


def heights(scale, values):
    """Where values lie on a panel, 0 at its bottom and 1 at its top."""
    axes = Figure().subplots()
    scale.apply([axes])
    points = axes.transData.transform([(0, value) for value in values])
    return axes.transAxes.inverted().transform(points)[:, 1]


def test_values_of_a_few_decades_have_a_logarithmic_scale():
    axes = Figure().subplots()
    scale = NormScale([1e-4, 1e2])
    scale.apply([axes])
    assert axes.get_yscale() == "log"
    assert scale.note() is None
    assert not axes.patches


def test_around_1_a_scale_of_thirty_decades_is_resolved():
    scale = NormScale([1e-26, 1e6, 0.0, np.nan, np.inf])
    low, start, one, end, high = heights(scale, [1e-26, 10.0**-RESOLVED, 1, 1e3, 1e6])
    assert end - one == pytest.approx(one - start)
    assert end - start > 0.5
    assert 0 < low < start
    assert end < high < 1


def test_far_values_keep_their_order_and_their_distances():
    scale = NormScale([1e-26, 1])
    far = heights(scale, [1e-26, 1e-18, 1e-10])
    assert np.diff(far) == pytest.approx([far[1] - far[0]] * 2)
    assert far[1] - far[0] > 0.05


def test_the_scale_can_be_inverted():
    forward, inverse = NormScale([1e-26, 1e9]).functions
    values = 10.0 ** np.arange(-40, 20)
    assert inverse(forward(values)) == pytest.approx(values)
    assert np.isnan(forward(np.array([0.0, -1.0]))).all()


def test_where_it_is_compressed_is_shaded_and_said():
    axes = Figure().subplots()
    scale = NormScale([1e-26, 1])
    scale.apply([axes])
    (shade,) = axes.patches
    assert shade.get_y() + shade.get_height() == pytest.approx(10.0**-RESOLVED)
    assert scale.note() == "Shaded: the scale is compressed below 10⁻³"
    assert "and above 10³" in NormScale([1e-26, 1e12]).note()
    assert scale.note("Colours are").startswith("Colours are compressed")


def test_ticks_name_the_end_of_the_compressed_part():
    axes = Figure().subplots()
    NormScale([2e-26, 1]).apply([axes])
    assert axes.get_yticks() == pytest.approx([1e-25, 1e-3, 1])


def test_ticks_continue_where_one_end_alone_is_compressed():
    axes = Figure().subplots()
    NormScale([2e-26, 1e6]).apply([axes])
    assert axes.get_yticks() == pytest.approx([1e-25, 1e-3, 1, 1e3, 1e6])


def test_nothing_positive_has_a_scale():
    for values in ([], [0.0, np.inf]):
        scale = NormScale(values)
        assert scale.low < scale.high


@pytest.mark.parametrize("values", [[1e-26, 1e6], [0.1, 10], [2.0]])
def test_colours_follow_the_same_scale(values):
    norm = NormScale(values).norm()
    assert norm(norm.vmin) == pytest.approx(0)
    assert norm(norm.vmax) == pytest.approx(1)
