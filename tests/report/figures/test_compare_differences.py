import math

import pytest

from depthbench.report.figures import COMPARISON_FIGURES


def test_differences_are_drawn_at_their_values(compared):
    """All errors of these made-up studies are equal, except that one run diverged, at 90 %.

    The same run of the baseline ends at 8.8 %, and is above that in the other two evaluations of the last
    quarter."""
    baseline = 8.8 + 80 * (math.exp(-160 / 30) + math.exp(-180 / 30)) / 3
    axes = COMPARISON_FIGURES["compare_differences"].load().draw(compared).axes[0]
    means = [line.get_xdata()[0] for line in axes.lines if line.get_marker() in ("s", "^", "X")]
    assert sorted(means)[:-1] == [0] * (6 + 4 - 1)
    assert max(means) == pytest.approx((90 - baseline) / 3)
    assert [line.get_marker() for line in axes.lines if line.get_xdata()[0] == max(means)] == ["X"]
