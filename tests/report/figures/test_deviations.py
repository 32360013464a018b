import pandas as pd
import pytest

from depthbench.report.style import palette
from tests.report.looking import draw, legend, panel, panels, stays_on_paper


def table(*rows):
    """Return deviations of rows (error, network, baseline, depth, differences of the seeds, diverged)."""
    columns = ["error", "network", "baseline", "depth", "differences", "diverged"]
    frame = pd.DataFrame(rows, columns=columns)
    means = [sum(each.values()) / len(each) for each in frame["differences"]]
    return frame.assign(mean=means, n=2, low=float("nan"), high=float("nan"))


ROWS = [
    (error, network, baseline, depth, {0: shift - 1.0, 1: shift + 1.0}, 0)
    for error in ("train error", "test error")
    for network, baseline, shift in (("calm", "plain", 3.0), ("bare", "plain", -2.0), ("wide", "resnet", 0.0))
    for depth in (8, 20)
]


def test_each_variant_has_a_row_with_its_seeds_and_their_mean(results):
    figure = draw("deviations", results, deviations=table(*ROWS))
    assert [axes.get_title() for axes in panels(figure)] == ["train error", "test error"]
    axes = panel(figure, "test error")
    labels = [label.get_text() for label in panel(figure, "train error").get_yticklabels()]
    assert labels == ["calm vs plain", "bare vs plain", "wide vs resnet"]
    means = {
        (round(float(line.get_ydata()[0])), line.get_color()): float(line.get_xdata()[0])
        for line in axes.lines
        if line.get_marker() == "o"
    }
    colours = palette.depth_colours(results.runs["depth"])
    assert means == {
        (row, colours[depth]): shift for row, shift in enumerate((3.0, -2.0, 0.0)) for depth in (8, 20)
    }
    strokes = [line.get_xdata().tolist() for line in axes.lines if line.get_marker() == "|"]
    assert strokes == [[2, 4], [2, 4], [-3, -1], [-3, -1], [-1, 1], [-1, 1]]
    assert {"depth 8", "depth 20"} == set(legend(figure))
    figure.draw_without_rendering()
    assert stays_on_paper(figure)


def test_an_interval_is_drawn_and_a_diverged_run_is_marked(results):
    frame = table(*ROWS[:1]).assign(low=1.5, high=4.5, diverged=1)
    figure = draw("deviations", results, deviations=frame)
    axes = panel(figure, "train error")
    assert any(
        line.get_xdata() == pytest.approx([1.5, 4.5]) for line in axes.lines if len(line.get_xdata()) == 2
    )
    assert "with a diverged run, counted at chance error" in legend(figure)


def test_a_study_without_baselines_has_no_such_figure(results):
    assert draw("deviations", results) is None
