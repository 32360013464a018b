import pytest

from depthbench.report.figures.gradient_by_layer import BY_DESIGN
from depthbench.report.style import points
from tests.report.looking import draw as draw_figure
from tests.report.looking import legend, note, panels


def draw(results):
    return draw_figure("first_steps", results)


@pytest.fixture(scope="module")
def figure(results):
    return draw(results)


def test_rows_are_quantities_and_columns_the_deepest_networks(figure):
    titles = [axes.get_title() for axes in panels(figure)]
    assert titles == ["plain, depth 20", "resnet, depth 20"] * 2
    labels = [axes.get_ylabel() for axes in panels(figure)[::2]]
    assert labels == ["L2 norm of dL/dz", "L2 norm of W"]
    assert {axes.get_yscale() for axes in panels(figure)} == {"log"}


def test_steps_are_evenly_spaced_from_initialisation_on(figure):
    axes = panels(figure)[-1]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "10", "100"]
    assert axes.get_xticks().tolist() == [0, 1, 2, 3]


def test_lines_are_of_the_second_the_middle_and_the_last_layer(figure):
    colours = {name: handle.get_color() for name, handle in legend(figure).items()}
    assert list(colours) == ["layer 2", "middle layer", "last layer before the classifier"]
    starts = {
        line.get_color(): line.get_ydata()[0]
        for line in panels(figure)[2].lines
        if line.get_linestyle() == "-"
    }
    assert [starts[colour] ** 2 for colour in colours.values()] == pytest.approx([2, 10, 19])
    gradient = next(x for x in panels(figure)[0].lines if x.get_color() == colours["layer 2"])
    seeds = (1 * 1.3 * 1.6) ** (1 / 3)
    assert gradient.get_ydata() == pytest.approx([seeds * 0.7**18 / (1 + s) ** 0.3 for s in (0, 1, 10, 100)])


def test_values_that_a_log_axis_cannot_show_are_marked(results):
    layers = results.layers.copy()
    at = (layers["layer"] == 2) & (layers["depth"] == 20) & (layers["seed"] == 1) & (layers["step"] == 10)
    layers.loc[at, "grad_norm_preact"] = 0.0
    figure = draw(results._replace(layers=layers))
    assert "exactly zero in a seed" in legend(figure)


def test_zeros_by_design_are_told_from_others(results):
    layers = results.layers.copy()
    at = (layers["layer"] == 19) & (layers["depth"] == 20) & layers["step"].isin([0, 1])
    layers.loc[at, "grad_norm_preact"] = 0.0
    labels = legend(draw(results._replace(layers=layers)))
    assert BY_DESIGN in labels
    assert "exactly zero in a seed" not in labels


@pytest.mark.parametrize("steps", [[0], [199], []])
def test_fewer_than_two_probed_steps_give_no_figure(results, steps):
    layers = results.layers[results.layers["step"].isin(steps)]
    assert draw(results._replace(layers=layers)) is None


@pytest.mark.parametrize("column", ["grad_norm_preact", "weight_norm"])
def test_both_probes_are_needed(results, column):
    assert draw(results._replace(layers=results.layers.drop(columns=column))) is None


def test_a_network_probed_too_late_has_an_empty_panel(results):
    late = (results.layers["network"] == "resnet") & (results.layers["step"] < 199)
    figure = draw(results._replace(layers=results.layers[~late]))
    assert [axes.get_title() for axes in panels(figure)] == ["plain, depth 20", "resnet"] * 2


def test_fewer_seeds_are_named(partial_results):
    assert note(draw(partial_results)).startswith(
        "Some runs were not probed at every step: plain 20 (2 of 3 runs)"
    )


def test_every_step_of_every_layer_is_described(results):
    figure = draw(results)
    figure.draw_without_rendering()
    described = points.collect(figure)
    assert len(described) == 2 * 2 * 3  # quantities, networks, layers
    first = next(s for s in described if s["name"].startswith("plain, depth 20, layer 2,"))
    assert [x for _, _, x, _ in first["points"]] == [0, 1, 10, 100]
    assert first["id"] == "shows:depth-20.network-plain"
