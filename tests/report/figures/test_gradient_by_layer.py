"""The theory lines of the gradient figure; what it shares with the others is in test_figures.py."""

import math

import pytest

from depthbench.report import FIGURES
from depthbench.report.figures.gradient_by_layer import THEORY
from depthbench.store.results import load_results
from tests.report.conftest import store_study, study_of
from tests.report.test_figures import legend, panel, panels, stays_on_paper

DASHED = "--"


def theory_of(axes):
    """The theory lines of a panel, as points."""
    return [line.get_xydata() for line in axes.lines if line.get_linestyle() == DASHED]


@pytest.fixture(scope="module")
def figure(results):
    return FIGURES["gradient_preact"].draw(results)


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


def test_theory_is_named_in_the_legend_as_far_as_it_is_drawn(figure):
    named = {text for text in legend(figure) if text.startswith("theory")}
    assert named == {THEORY["batch_norm_limit"][0], THEORY["power"][0]}
    for text in named:
        assert legend(figure)[text].get_linestyle() == DASHED


def test_it_is_of_the_pre_activations_alone(results):
    figure = FIGURES["gradient_weight"].draw(results)
    assert not any(theory_of(axes) for axes in panels(figure))
    assert not any(text.startswith("theory") for text in legend(figure))


def test_without_a_measurement_at_initialisation_there_is_no_theory(results):
    figure = FIGURES["gradient_preact"].draw(
        results._replace(layers=results.layers[results.layers["step"] > 0])
    )
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
    figure = FIGURES["gradient_preact"].draw(results)
    figure.draw_without_rendering()
    assert {label for label, _ in THEORY.values()} <= set(legend(figure))
    assert stays_on_paper(figure)
    told = figure.legends[0].get_title().get_text().replace("\n", " ")
    for source in ("1502.01852", "Glorot & Bengio 2010", "1902.08129", "2002.10444", "variances of shortcut"):
        assert told.count(source) == 1, source
