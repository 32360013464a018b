import math

import numpy as np
import pytest

from depthbench.report.figures.gradient_by_layer import THEORY
from depthbench.report.style import palette
from depthbench.store.results import load_results
from tests.report.conftest import store_study, study_of
from tests.report.looking import draw, legend, note, panel, panels, stays_on_paper

DASHED = "--"


def theory_of(axes):
    """The theory lines of a panel, as points."""
    return [line.get_xydata() for line in axes.lines if line.get_linestyle() == DASHED]


@pytest.fixture(scope="module")
def figure(results):
    return draw("gradient_preact", results)


def test_theory_is_on_the_row_of_initialisation_alone(figure):
    dashed = {axes.get_title(): len(theory_of(axes)) for axes in panels(figure)}
    assert dashed["plain, step 0 (initialisation)"] == 9  # 3 depths of 3 stages
    assert dashed["resnet, step 0 (initialisation)"] == 3  # a power runs through all stages
    assert sum(dashed.values()) == 12


def test_a_theory_line_starts_on_the_measured_line_and_has_its_own_slope(figure):
    axes = panel(figure, "plain, step 0 (initialisation)")
    stage_1 = theory_of(axes)[0]  # layers 2 and 3 of 8
    measured = (1 * 1.3 * 1.6) ** (1 / 3) * 0.7**5  # layer 3
    assert stage_1[-1] == pytest.approx([2 / 7, measured])
    assert stage_1[0] == pytest.approx([1 / 7, measured * math.sqrt(math.pi / (math.pi - 1))])


def test_the_legend_names_only_theory_that_is_drawn(figure):
    named = {text for text in legend(figure) if text.startswith("theory")}
    assert named == {THEORY["batch_norm_limit"][0], THEORY["power"][0]}
    for text in named:
        assert legend(figure)[text].get_linestyle() == DASHED


def test_weight_gradients_have_no_theory(results):
    figure = draw("gradient_weight", results)
    assert not any(theory_of(axes) for axes in panels(figure))
    assert not any(text.startswith("theory") for text in legend(figure))


def test_without_a_measurement_at_initialisation_there_is_no_theory(results):
    figure = draw("gradient_preact", results._replace(layers=results.layers[results.layers["step"] > 0]))
    assert not any(theory_of(axes) for axes in panels(figure))


def test_every_kind_of_theory_fits_on_the_paper(tmp_path):
    kinds = {
        "he": {"of": "plain_mlp", "options": {"norm": "none"}},
        "xavier": {"of": "plain_mlp", "options": {"norm": "none", "init": "xavier"}},
        "residual": {"of": "resnet_mlp", "options": {"norm": "none"}},
    }
    networks = (*kinds, "plain_mlp", "plain", "resnet")
    study = study_of(networks=networks, depths=(8, 14), seeds=(0,), variants=kinds)
    results = load_results(store_study(tmp_path / "made-up", study))
    is_mlp = ~results.layers["network"].isin(["plain", "resnet"])
    is_hidden = results.layers["stage"].isin(["2", "3"])
    results.layers.loc[is_mlp & is_hidden, "stage"] = "1"
    figure = draw("gradient_preact", results)
    figure.draw_without_rendering()
    assert {label for label, _ in THEORY.values()} <= set(legend(figure))
    assert stays_on_paper(figure)
    sources = note(figure).replace("\n", " ")
    for source in ("1502.01852", "Glorot & Bengio 2010", "1902.08129", "2002.10444", "variances of shortcut"):
        assert sources.count(source) == 1, source


def test_gradient_has_a_row_for_each_chosen_step_and_the_geometric_mean(results):
    figure = draw("gradient_preact", results)
    assert [axes.get_title() for axes in panels(figure)[::2]] == [
        "plain, step 0 (initialisation)",
        "plain, step 1",
        "plain, step 100",
        "plain, step 199",
    ]
    axes = panels(figure)[0]
    assert axes.get_yscale() == "log"
    line = next(x for x in axes.lines if x.get_color() == palette.depth_colours([8, 14, 20])[8])
    seeds = (1 * 1.3 * 1.6) ** (1 / 3)
    assert line.get_xydata()[0] == pytest.approx([0, seeds * 0.7**7])
    assert line.get_xydata()[-1] == pytest.approx([1, seeds])


@pytest.mark.parametrize(
    ("value", "label"), [(0.0, "exactly zero in a seed"), (np.inf, "infinite or not a number in a seed")]
)
def test_gradient_marks_values_that_a_log_axis_cannot_show(results, value, label):
    layers = results.layers.copy()
    layers.loc[(layers["layer"] == 3) & (layers["seed"] == 1) & (layers["step"] == 0), "grad_norm_weight"] = (
        value
    )
    figure = draw("gradient_weight", results._replace(layers=layers))
    assert label in legend(figure)
    marks = [line for line in panels(figure)[0].lines if line.get_marker() in "v^"]
    assert [line.get_xdata()[0] for line in marks] == pytest.approx([2 / 7, 2 / 13, 2 / 19])
    assert not any(line.get_marker() in "v^" for line in panels(figure)[2].lines)  # the next step


def test_gradient_names_lines_of_fewer_seeds(partial_results):
    first, *_ = note(draw("gradient_preact", partial_results)).splitlines()
    assert first == (
        "Some runs were not probed at every step: plain 14 (2 of 3 runs), plain 20 (2 of 3 runs), "
        "resnet 20 (1 of 2 runs)"
    )
