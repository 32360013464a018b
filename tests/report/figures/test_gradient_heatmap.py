import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from depthbench.report.figures import gradient_heatmap
from depthbench.report.figures.gradient_by_layer import BY_DESIGN
from depthbench.report.style import canvas, points
from tests.report.looking import described_points, draw, legend, note, panel, panels


def test_each_kind_of_value_without_a_colour_has_its_own_look(results):
    layers = results.layers.assign(not_measured="")
    at = (layers["network"] == "plain") & (layers["depth"] == 8) & (layers["step"] == 0)
    values = {1: 0.0, 2: np.nan, 3: np.inf, 4: np.nan}
    for layer, value in values.items():
        layers.loc[at & (layers["layer"] == layer), "grad_norm_preact"] = value
    layers.loc[at & (layers["layer"] == 4), "not_measured"] = "grad_norm_preact"
    figure = draw("heatmap_preact", results._replace(layers=layers))
    axes = panel(figure, "plain, depth 8")
    mesh = axes.collections[0]
    assert mesh.get_array().mask[:, 0].tolist() == [True] * 4 + [False] * 4
    assert len(np.unique(mesh.to_rgba(mesh.get_array())[4:, 0], axis=0)) == 4
    hatches = ["/////", "xxxxx", "+++++", "....."]
    assert [patch.get_bbox().bounds for patch in axes.patches] == [(0, y, 1, 1) for y in range(4)]
    assert [patch.get_hatch() for patch in axes.patches] == hatches
    assert {to_hex(patch.get_facecolor()) for patch in axes.patches} == {canvas.PAPER}
    labels = ["exactly zero", "not a number", "infinite", "not measured"]
    entries = {label: handle.get_hatch() for label, handle in legend(figure).items()}
    assert entries == {f"{label} in a seed": hatch for label, hatch in zip(labels, hatches, strict=True)}
    figure.draw_without_rendering()
    series = next(s for s in points.collect(figure) if s["name"].startswith("plain, depth 8,"))
    cells = {x: value for *_, x, value in described_points(series)}
    assert [cells[f"{layer}, step 0"] for layer in (1, 2, 3, 4)] == [
        0,
        *(f"{x} in a seed" for x in labels[1:]),
    ]


@pytest.mark.filterwarnings("error")
def test_panels_without_any_number_are_drawn_without_a_warning(results):
    layers = results.layers.assign(not_measured="")
    layers.loc[layers["network"] == "plain", "grad_norm_preact"] = np.nan
    figure = draw("heatmap_preact", results._replace(layers=layers))
    figure.draw_without_rendering()
    mesh = panel(figure, "plain, depth 8").collections[0]
    assert mesh.get_array().mask.all()
    assert list(legend(figure)) == ["not a number in a seed"]


def test_a_mean_over_other_seeds_has_a_colour(results):
    layers = results.layers.assign(not_measured="")
    at = (layers["layer"] == 1) & (layers["seed"] == 0)
    layers.loc[at, ["grad_norm_preact", "not_measured"]] = [np.nan, "grad_norm_preact"]
    assert not any(axes.patches for axes in panels(draw("heatmap_preact", results._replace(layers=layers))))


def test_only_what_occurs_is_explained(results):
    assert not draw("heatmap_preact", results).legends
    layers = results.layers[(results.layers["depth"] != 8) | (results.layers["network"] == "plain")]
    assert list(legend(draw("heatmap_preact", results._replace(layers=layers)))) == ["not probed"]


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


@pytest.mark.parametrize("layers_per_cell", [1, 2])
def test_zeros_by_design_are_told_from_others(results, monkeypatch, layers_per_cell):
    """Layer 3 of resnet has no gradient at the first two steps, layer 6 of plain has none at the last one."""
    monkeypatch.setattr(gradient_heatmap, "MOST_LAYERS", 20 // layers_per_cell)
    layers = results.layers.copy()
    starts = (layers["layer"] == 3) & (layers["network"] == "resnet") & layers["step"].isin([0, 1])
    layers.loc[starts, "grad_norm_preact"] = 0.0
    figure = draw("heatmap_preact", results._replace(layers=layers))
    assert BY_DESIGN in legend(figure)
    assert "exactly zero in a seed" not in legend(figure)
    figure.draw_without_rendering()
    cells = [point for series in points.collect(figure) for point in described_points(series)]
    assert sum(cell[3] == BY_DESIGN for cell in cells) == 2 * 3  # steps and depths
    ends = (layers["layer"] == 6) & (layers["network"] == "plain") & (layers["step"] == layers["step"].max())
    layers.loc[ends, "grad_norm_preact"] = 0.0
    labels = legend(draw("heatmap_preact", results._replace(layers=layers)))
    assert {BY_DESIGN, "exactly zero in a seed"} <= set(labels)


def test_a_slide_shows_the_ends_of_few_networks_and_the_deepest_of_many(results):
    def titles(layers):
        figure = draw("heatmap_preact", results._replace(layers=layers), style="slides")
        assert "of each network. The page shows all." in note(figure)
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
        return len(panels(figure)), shown, note(figure)

    count, shown, words = drawn(6, (8, 9, 10, 11, 12))
    assert (count, shown) == (12, {8, 12})
    assert "shallowest and the deepest depth of each network, because 30 panels would be too many." in words
    count, shown, words = drawn(30, (8, 9))
    assert (count, shown) == (30, {9})
    assert "Shown: the deepest depth of each network, because 60 panels would be too many." in words


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
