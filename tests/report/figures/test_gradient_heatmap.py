import itertools

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from depthbench.report.style import canvas, points
from tests.report.looking import described_points, draw, panel, panels


def test_heatmap_colours_zero_and_lost_unlike_any_norm(results):
    layers = results.layers.copy()
    at = (layers["network"] == "plain") & (layers["depth"] == 8) & (layers["step"] == 0)
    layers.loc[at & (layers["layer"] == 1), "grad_norm_preact"] = 0.0
    layers.loc[at & (layers["layer"] == 2), "grad_norm_preact"] = np.nan
    figure = draw("heatmap_preact", results._replace(layers=layers))
    axes = panel(figure, "plain, depth 8")
    mesh = axes.collections[0]
    assert mesh.get_array().mask[:, 0].tolist() == [True, True] + [False] * 6
    assert len(np.unique(mesh.to_rgba(mesh.get_array())[2:, 0], axis=0)) == 6
    (zero,) = axes.patches
    assert (zero.get_bbox().bounds, zero.get_hatch()) == ((0, 0, 1, 1), "/////")
    assert to_hex(zero.get_facecolor()) == canvas.PAPER
    assert "Hatched: exactly zero in a seed. Grey: not probed" in figure.get_supxlabel()


def test_the_note_names_only_colours_that_occur(results):
    assert draw("heatmap_preact", results).get_supxlabel() == ""


def test_every_cell_is_described(results):
    figure = draw("heatmap_preact", results)
    figure.draw_without_rendering()
    series = next(s for s in points.collect(figure) if s["name"].startswith("plain, depth 8,"))
    cells = described_points(series)
    assert [x for _, _, x, _ in cells][:6] == [
        *("1, step 0", "1, step 1", "1, step 10", "1, step 100", "1, step 199"),
        "2, step 0",
    ]
    assert cells[0][3] == points.shown((1 * 1.3 * 1.6) ** (1 / 3) * 0.7**7)
    assert len(cells) == 8 * 5


def test_a_zero_is_described_as_zero(results):
    layers = results.layers.copy()
    layers.loc[(layers["layer"] == 1) & (layers["step"] == 0), "grad_norm_preact"] = 0.0
    figure = draw("heatmap_preact", results._replace(layers=layers))
    figure.draw_without_rendering()
    assert described_points(points.collect(figure)[0])[0][2:] == ["1, step 0", 0]


def test_zeros_by_design_are_named(results):
    layers = results.layers.copy()
    at = (layers["layer"] == 3) & (layers["network"] == "resnet") & (layers["step"] == 0)
    layers.loc[at, "grad_norm_preact"] = 0.0
    text = draw("heatmap_preact", results._replace(layers=layers)).get_supxlabel()
    assert "Hatched at step 0 is by design, as a branch starts at zero." in text.replace("\n", " ")


def test_a_slide_shows_the_ends_of_few_networks_and_the_deepest_of_many(results):
    def titles(layers):
        figure = draw("heatmap_preact", results._replace(layers=layers), style="slides")
        assert "of each network. The page shows all." in figure.get_supxlabel()
        return [axes.get_title() for axes in panels(figure)]

    ends = [f"{network}, depth {depth}" for depth in (8, 20) for network in ("plain", "resnet")]
    assert titles(results.layers) == ends
    more = [results.layers.assign(network=results.layers["network"] + name) for name in ("", "b")]
    deepest = [f"{network}, depth 20" for network in ("plain", "resnet", "plainb", "resnetb")]
    assert titles(pd.concat(more, ignore_index=True)) == deepest


def test_a_page_of_too_many_panels_shows_the_ends_or_the_deepest_depths(results):
    """Six networks of five depths would need 30 panels, and 30 networks of two depths 60."""

    def drawn(networks, depths):
        frames = [
            results.layers[(results.layers["network"] == "plain") & (results.layers["depth"] == 8)].assign(
                network=f"net{i:02}", depth=depth
            )
            for i in range(networks)
            for depth in depths
        ]
        figure = draw("heatmap_preact", results._replace(layers=pd.concat(frames, ignore_index=True)))
        shown = {int(axes.get_title().rpartition(" ")[2]) for axes in panels(figure) if axes.get_title()}
        return len(panels(figure)), shown, figure.get_supxlabel()

    count, shown, note = drawn(6, (8, 9, 10, 11, 12))
    assert (count, shown) == (12, {8, 12})
    assert "shallowest and the deepest depth of each network, because 30 panels would be too many." in note
    count, shown, note = drawn(30, (8, 9))
    assert (count, shown) == (30, {9})
    assert "Shown: the deepest depth of each network, because 60 panels would be too many." in note


def test_labels_of_steps_never_overlap(results):
    """Six networks with nine probed steps, the later of many digits."""
    frames = [
        results.layers[results.layers["step"] == 0].assign(step=step, network=f"net{i}")
        for step in (0, 1, 2, 5, 10, 20, 50, 10_050, 10_199)
        for i in range(6)
    ]
    for style in ("page", "slides"):
        layers = pd.concat(frames, ignore_index=True)
        figure = draw("heatmap_preact", results._replace(layers=layers), style=style)
        figure.draw_without_rendering()
        labels = [label for label in panels(figure)[-1].get_xticklabels() if label.get_text()]
        boxes = [label.get_window_extent() for label in labels]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        assert {"0", "10.199k"} <= {label.get_text() for label in labels}
