import pandas as pd
import pytest

from tests.analysis.test_coordinates import coordinates_of
from tests.report.looking import draw, panels


def test_a_panel_has_a_line_of_blocks_and_a_point_of_logits_for_each_depth(results):
    figure = draw("coordinates", results, coordinates=coordinates_of(1.0, blocks=(3, 9)))
    size, change = panels(figure)
    assert (size.get_title(), change.get_title()) == ("resnet, before training", "resnet, after 1 update")
    lines = [line for line in change.lines if len(line.get_xdata()) > 1]
    assert [line.get_ydata()[-1] for line in lines] == pytest.approx([3, 9])
    assert [len(line.get_xdata()) for line in lines] == [3, 9]
    points = [line for line in change.lines if len(line.get_xdata()) == 1]
    assert [line.get_ydata()[0] for line in points] == pytest.approx([3, 9])


def test_without_measurements_there_is_no_figure(results):
    assert draw("coordinates", results, coordinates=pd.DataFrame()) is None
