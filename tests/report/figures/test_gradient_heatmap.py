import numpy as np

from tests.report.looking import draw, panel


def test_heatmap_colours_zero_and_lost_unlike_any_norm(results):
    layers = results.layers.copy()
    at = (layers["network"] == "plain") & (layers["depth"] == 8) & (layers["step"] == 0)
    layers.loc[at & (layers["layer"] == 1), "grad_norm_preact"] = 0.0
    layers.loc[at & (layers["layer"] == 2), "grad_norm_preact"] = np.nan
    figure = draw("heatmap_preact", results._replace(layers=layers))
    mesh = panel(figure, "plain, depth 8").collections[0]
    colours = mesh.to_rgba(mesh.get_array())[:, 0]
    assert colours[0].tolist() == [1, 1, 1, 1]
    assert mesh.get_array().mask[:, 0].tolist() == [False, True] + [False] * 6
    assert len(np.unique(colours[2:], axis=0)) == 6
    assert "White: exactly zero in a seed. Grey: not probed" in figure.get_supxlabel()


def test_the_note_names_only_colours_that_occur(results):
    assert draw("heatmap_preact", results).get_supxlabel() == ""
