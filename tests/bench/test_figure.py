from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from depthbench.bench import figure
from depthbench.bench.ratios import FRACTION, SPEED

ALONE, OURS, TEAM = "conventional, 1 job", "depthbench, 1 job", "depthbench, 2 jobs"


def ratio(case, of, arm, median, low, high):
    over = ALONE if of == SPEED else ""
    return {"case": case, "of": of, "arm": arm, "over": over, "median": median, "low": low, "high": high}


@pytest.fixture(scope="module")
def panels():
    """The two panels of a benchmark of two cases. Two jobs were measured in the first case only."""
    ratios = [
        ratio("resnet-8", SPEED, OURS, 2.0, 1.5, 3.0),
        ratio("resnet-8", SPEED, TEAM, 12.0, 11.0, 14.0),
        ratio("resnet-8", FRACTION, ALONE, 0.1, 0.05, 0.2),
        ratio("resnet-8", FRACTION, OURS, 0.2, 0.15, 0.25),
        ratio("resnet-8", FRACTION, TEAM, 0.4, 0.4, 0.4),
        ratio("digits-8", SPEED, OURS, 4.0, 4.0, 4.0),
        ratio("digits-8", FRACTION, ALONE, 0.3, 0.3, 0.3),
        ratio("digits-8", FRACTION, OURS, 0.5, 0.5, 0.5),
    ]
    rows = pd.DataFrame(
        {"case": ["resnet-8"] * 3 + ["digits-8"], "what": "conventional", "jobs": [1, 1, 2, 1]}
    )
    rows["per_second"] = [1000.0, 3000.0, 9000.0, 50.0]
    return figure.draw(rows, pd.DataFrame(ratios), "Training speed").axes


def heights(axes, arm):
    """Return the height of the bars of an arm in each case. Arms are in the order of the fractions."""
    return [bar.get_height() for bar in axes.containers[2 * [ALONE, OURS, TEAM].index(arm)]]


def test_bars_are_medians_and_the_conventional_loop_is_1_in_every_case(panels):
    speed, fraction = panels
    assert heights(speed, ALONE) == [1, 1]
    assert heights(speed, OURS) == [2, 4]
    np.testing.assert_allclose(heights(speed, TEAM), [12, np.nan])
    np.testing.assert_allclose(heights(fraction, TEAM), [40, np.nan])  # percent


def test_whiskers_are_the_spread(panels):
    (lines,) = panels[0].containers[3].lines[2]
    ends = [segment[:, 1].tolist() for segment in lines.get_segments()]
    assert ends == [[1.5, 3.0], [4.0, 4.0]]


def test_only_bars_that_exist_have_a_number(panels):
    numbers = [[text.get_text() for text in axes.texts] for axes in panels]
    assert numbers == [["1.00", "1.00", "2.00", "4.00", "12.0"], ["10.0", "30.0", "20.0", "50.0", "40.0"]]


def test_the_label_of_a_case_says_what_a_speed_of_1_is(panels):
    labels = [label.get_text() for label in panels[1].get_xticklabels()]
    assert labels == ["resnet-8\n(1 is 2,000 images/s)", "digits-8\n(1 is 50 images/s)"]


def test_arms_have_different_colours_and_bars_do_not_overlap(panels):
    bars = [bar for container in panels[0].containers[::2] for bar in container]
    assert len({to_hex(bar.get_facecolor()) for bar in bars}) == 3
    spans = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars)
    assert all(right <= left for (_, right), (left, _) in pairwise(spans))
