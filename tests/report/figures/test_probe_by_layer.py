import warnings

import numpy as np
import pandas as pd
import pytest

from depthbench.report.figures.probe_by_layer import figure_of, figures_of_probes, spans_decades
from depthbench.report.style import points
from tests.report.conftest import evidence_of
from tests.report.looking import described_points, legend, panels, stays_on_paper


def with_probe(results, values):
    return results._replace(layers=results.layers.assign(mine=values))


def drawn(results, values, style="page"):
    evidence = evidence_of(with_probe(results, values))
    figure = figure_of("mine", "what it is").draw(evidence, style)
    if figure is not None:
        with warnings.catch_warnings(action="error"):
            figure.draw_without_rendering()
    return figure


def test_each_probe_without_a_figure_gets_one(results):
    layers = results.layers.assign(mine=1.0, not_measured="", selected_by="", use=pd.NA, **{"../away": 1.0})
    figures = figures_of_probes(
        evidence_of(results._replace(layers=layers), about_probes={"mine": "size of it"})
    )
    assert list(figures) == ["probe_mine"]
    figure = figures["probe_mine"].load()
    assert (figure.choice, figure.probes) == ("mine", ("mine",))
    assert figure.caption.startswith("mine: Size of it. Each panel shows")
    assert figures_of_probes(evidence_of(results)) == {}


@pytest.mark.parametrize("style", ["page", "slides"])
def test_values_of_both_signs_have_a_linear_axis_and_an_arithmetic_mean(results, style):
    layers = results.layers
    figure = drawn(results, layers["layer"] / 10 - 1 + layers["seed"] / 10, style)
    assert stays_on_paper(figure)
    axes = panels(figure)[0]
    assert axes.get_yscale() == "linear"
    line = next(line for line in axes.lines if len(line.get_xdata()) == 8)
    assert line.get_ydata() == pytest.approx(np.arange(1, 9) / 10 - 0.9)  # seeds 0, 1 and 2
    series = points.collect(figure)[0]
    assert series["name"].endswith(", mean of 3 seeds")
    assert len({axes.get_ylim() for axes in panels(figure)}) == 1
    assert not {label for label in legend(figure) if "seed" in label}


def test_positive_values_over_decades_have_a_logarithmic_axis(results):
    figure = drawn(results, 10.0 ** -results.layers["layer"])
    assert panels(figure)[0].get_yscale() != "linear"
    assert "geometric mean" in figure.get_suptitle()
    assert described_points(points.collect(figure)[0])


def test_steps_at_which_nothing_was_measured_are_not_shown(results):
    values = (results.layers["layer"] * 1.0).mask(results.layers["step"] == 0)
    titles = [axes.get_title() for axes in panels(drawn(results, values))]
    assert titles[0] == "plain, step 1"


def test_each_kind_of_value_is_marked_on_a_linear_axis_too(results):
    layers = results.layers
    first = (layers["step"] == 0) & (layers["network"] == "plain")
    values = layers["layer"] - 4.0
    values = values.mask(first & (layers["layer"] == 2), np.inf).mask(first & (layers["layer"] == 5), np.nan)
    values = values.mask(first & (layers["layer"] == 3), -np.inf)
    lists = pd.Series("", layers.index).mask(layers["layer"] == 7, "mine")
    evidence = evidence_of(
        results._replace(layers=layers.assign(mine=values.mask(layers["layer"] == 7), not_measured=lists))
    )
    figure = figure_of("mine", "").draw(evidence)
    found = {label for label in legend(figure) if label.endswith("in a seed")}
    assert found == {
        "infinite in a seed",
        "minus infinity in a seed",
        "not a number in a seed",
        "not measured in a seed",
    }


def test_modules_that_a_probe_selects_are_placed_by_themselves(results):
    gates = results.layers[results.layers["layer"] <= 3].assign(selected_by="mine", grad_norm_weight=np.nan)
    gates = gates.assign(mine=gates["layer"] / 2, layer=gates["layer"] * 2 + 1)
    layers = pd.concat([results.layers.assign(selected_by="", mine=np.nan), gates], ignore_index=True)
    figure = figure_of("mine", "").draw(evidence_of(results._replace(layers=layers)))
    line = panels(figure)[0].lines[0]
    assert line.get_xydata().tolist() == [[0, 0.5], [0.5, 1], [1, 1.5]]
    assert panels(figure)[-1].get_xlabel() == "place / depth"
    unchanged = evidence_of(results._replace(layers=layers)).gradients["grad_norm_weight"]
    assert unchanged.equals(evidence_of(results).gradients["grad_norm_weight"])


def test_without_values_there_is_nothing_to_show(results):
    assert drawn(with_unmeasured(results, "mine"), np.nan) is None
    assert drawn(results, "text") is None


def note_of(figure):
    return figure.legends[0].get_title().get_text().replace("\n", " ")


def with_unmeasured(results, *columns):
    return results._replace(layers=results.layers.assign(not_measured=",".join(columns)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("style", ["page", "slides"])
def test_a_probe_without_any_number_is_drawn_and_says_so(results, value, style):
    figure = drawn(results, value, style)
    assert stays_on_paper(figure)
    assert "No value is a finite number." in note_of(figure)
    word = "infinite" if value == np.inf else "not a number"
    assert f"{word} in a seed" in legend(figure)


def test_a_seed_that_drops_a_branch_is_left_out_of_the_mean(results):
    layers = results.layers
    is_dropped = (layers["network"] == "resnet") & (layers["layer"] == 4) & (layers["seed"] == 0)
    runs = results.runs.assign(**{"options.survival": 0.5})
    figure = drawn(results._replace(runs=runs), (layers["layer"] + 1.0).mask(is_dropped, 0.0))
    axes = next(axes for axes in panels(figure) if axes.get_title().startswith("resnet"))
    line = next(line for line in axes.lines if len(line.get_xdata()) == 8)
    assert line.get_ydata().tolist() == pytest.approx([2.0, 3, 4, 5, 6, 7, 8, 9])
    assert "drops a branch" in note_of(figure)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 30.0], True),
        ([0.0, 1.0, 30.0], True),
        ([1.0, 10.0], False),
        ([-1.0, 30.0, 1.0], False),
        ([0.0], False),
    ],
)
def test_only_positive_values_of_many_sizes_span_decades(values, expected):
    assert spans_decades(pd.Series([*values, np.inf, np.nan])) is expected
