import numpy as np
from matplotlib.colors import to_hex

from depthbench.report.style import canvas, points
from tests.report.looking import draw, panel


def test_heatmap_colours_zero_and_lost_unlike_any_norm(results):
    layers = results.layers.copy()
    at = (layers["network"] == "plain") & (layers["depth"] == 8) & (layers["step"] == 0)
    layers.loc[at & (layers["layer"] == 1), "grad_norm_preact"] = 0.0
    layers.loc[at & (layers["layer"] == 2), "grad_norm_preact"] = np.nan
    figure = draw("heatmap_preact", results._replace(layers=layers))
    mesh = panel(figure, "plain, depth 8").collections[0]
    colours = mesh.to_rgba(mesh.get_array())[:, 0]
    assert to_hex(colours[0]) == canvas.PAPER
    assert mesh.get_array().mask[:, 0].tolist() == [False, True] + [False] * 6
    assert len(np.unique(colours[2:], axis=0)) == 6
    assert "White: exactly zero in a seed. Grey: not probed" in figure.get_supxlabel()


def test_the_note_names_only_colours_that_occur(results):
    assert draw("heatmap_preact", results).get_supxlabel() == ""


def test_every_cell_is_described(results):
    figure = draw("heatmap_preact", results)
    figure.draw_without_rendering()
    series = next(s for s in points.collect(figure) if s["name"].startswith("plain, depth 8,"))
    assert [x for _, _, x, _ in series["points"]][:6] == [
        *("1, step 0", "1, step 1", "1, step 10", "1, step 100", "1, step 199"),
        "2, step 0",
    ]
    assert series["points"][0][3] == points.shown((1 * 1.3 * 1.6) ** (1 / 3) * 0.7**7)
    assert len(series["points"]) == 8 * 5


def test_a_zero_is_described_as_zero(results):
    layers = results.layers.copy()
    layers.loc[(layers["layer"] == 1) & (layers["step"] == 0), "grad_norm_preact"] = 0.0
    figure = draw("heatmap_preact", results._replace(layers=layers))
    figure.draw_without_rendering()
    assert points.collect(figure)[0]["points"][0][2:] == ["1, step 0", 0]


def test_zeros_by_design_are_named(results):
    layers = results.layers.copy()
    at = (layers["layer"] == 3) & (layers["network"] == "resnet") & (layers["step"] == 0)
    layers.loc[at, "grad_norm_preact"] = 0.0
    text = draw("heatmap_preact", results._replace(layers=layers)).get_supxlabel()
    assert "White at step 0 is by design, as a branch starts at zero." in text.replace("\n", " ")
