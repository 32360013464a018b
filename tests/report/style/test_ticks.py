import pytest
from matplotlib.figure import Figure

from depthbench.report.style import ticks


@pytest.mark.parametrize(
    ("low", "high"), [(1e-22, 1e6), (1e-3, 10), (0.02, 0.2), (3, 40), (5.4, 18.3), (40, 100)]
)
def test_a_log_axis_has_a_few_labelled_ticks_inside(low, high):
    axes = Figure(figsize=(3, 1.2)).subplots()
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    ticks.label_log(axes)
    shown = [tick for tick in axes.get_yticks() if low <= tick <= high]
    assert 3 <= len(shown) <= 8
    assert axes.get_ylim() == (low, high)


@pytest.mark.parametrize("last", [5, 33, 109, 1202])
def test_counts_from_one_have_a_tick_at_one_and_none_at_zero(last):
    axes = Figure().subplots()
    axes.plot([1, last], [0, 0])
    axes.xaxis.set_major_locator(ticks.FromOne(6, integer=True))
    shown = [tick for tick in axes.get_xticks() if tick <= last]
    assert shown[0] == 1
    assert len(set(shown)) == len(shown) >= 4
