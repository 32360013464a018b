from itertools import pairwise

import numpy as np
import pytest

from depthbench.report.style import palette, points
from depthbench.store.results import Results
from tests.report.looking import draw, legend, panel, panels


def test_a_network_has_its_own_panel_with_its_twin_in_the_background(results):
    figure = draw("response_std", results)
    titles = [f"{network}, {order}" for order in ("layer order", "sorted") for network in ("plain", "resnet")]
    assert [axes.get_title() for axes in panels(figure)] == titles
    looks = [x.get_color() for x in panel(figure, "plain, sorted").lines]
    depths = palette.depth_colours([8, 14, 20])
    assert sorted(looks) == sorted([*depths.values(), *[palette.BACKGROUND] * 3])
    assert "its twin" in legend(figure)


def test_lines_that_coincide_are_all_visible(results):
    """The deepest is drawn first, and is the widest."""
    layers = results.layers.assign(response_std=1.0)
    figure = draw("response_std", results._replace(layers=layers))
    colours = palette.depth_colours([8, 14, 20])
    lines = [x for x in panel(figure, "plain, sorted").lines if x.get_color() in colours.values()]
    assert [x.get_color() for x in lines] == [colours[depth] for depth in (20, 14, 8)]
    widths = [x.get_linewidth() for x in lines]
    assert all(a > b + 0.4 for a, b in pairwise(widths))


def test_a_network_without_its_twin_has_no_background(results):
    one = Results(*(frame[frame["network"] == "plain"] for frame in results))
    figure = draw("response_std", one)
    assert [axes.get_title() for axes in panels(figure)] == ["plain, layer order", "plain, sorted"]
    assert len(panels(figure)[0].lines) == 3
    assert "its twin" not in legend(figure)


def test_every_layer_is_described(results):
    figure = draw("response_std", results)
    figure.draw_without_rendering()
    described = points.collect(figure)
    names = {series["name"] for series in described}
    assert "plain, depth 20, geometric mean of 3 seeds" in names
    assert {series["x"] for series in described} == {"layer", "rank"}
    layers = [[x for _, _, x, _ in s["points"]] for s in described if s["name"].startswith("plain, depth 8,")]
    assert layers == [list(range(1, 8))] * 2


def test_response_std_leaves_the_classifier_out_and_sorts(results):
    figure = draw("response_std", results)
    colour = palette.depth_colours([8, 14, 20])[8]
    lines = [
        next(x for x in panel(figure, f"plain, {order}").lines if x.get_color() == colour)
        for order in ("layer order", "sorted")
    ]
    original, ranked = (line.get_ydata() for line in lines)
    assert len(original) == 7
    assert list(ranked) == pytest.approx(sorted(original, reverse=True))
    assert original[0] == pytest.approx((1.1 * 1.2) ** (1 / 3) * (1.5 + np.sin(1)) / 8**0.5)
    assert "step 199" in figure.get_suptitle()
