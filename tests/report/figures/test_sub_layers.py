import pandas as pd
import pytest

from depthbench.analysis.sub_layers import of_blocks
from tests.analysis.test_sub_layers import layers_of, runs_of
from tests.report.conftest import evidence_of
from tests.report.looking import draw, legend, panels


def test_each_quantity_has_a_row_with_a_line_per_sub_layer_at_the_deepest_depth(results):
    runs = runs_of()
    layers = layers_of(runs)
    layers = pd.concat([layers, layers.assign(step=9, response_std=2.0)])
    evidence = evidence_of(results, blocks=of_blocks(layers, runs), runs=runs)
    figure = draw("sub_layers", evidence)
    (panel,) = panels(figure)
    assert panel.get_title() == "transformer, depth 8"
    gradient, _response, share = figure.axes
    assert [len(axes.lines) for axes in figure.axes] == [4, 4, 4]
    assert gradient.lines[0].get_ydata().tolist() == pytest.approx([5.0] * 8)
    assert share.lines[0].get_ydata().tolist() == pytest.approx([1 / block for block in range(1, 9)])
    assert list(legend(figure)) == ["attention", "MLP", "step 0", "last probed step"]


def test_a_study_without_transformers_has_no_figure(results):
    assert draw("sub_layers", results) is None
