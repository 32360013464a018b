import math
import warnings

import numpy as np
import pandas as pd
import pytest
from torch import nn

from depthbench import load_study, run_study
from depthbench.analysis.diagnosis import diagnose
from depthbench.execution.backends import BACKENDS
from depthbench.execution.backends.entry import BackendEntry
from depthbench.execution.settings import Execution
from depthbench.networks import NETWORKS
from depthbench.networks.family import Family
from depthbench.probes.reasons import UNREACHED
from depthbench.report.evidence import Comparison, Evidence
from depthbench.report.figures import COMPARISON_FIGURES, FIGURES
from depthbench.report.figures.gradient_by_layer import THEORY, background_handles, isolated
from depthbench.report.style import canvas, palette, points
from depthbench.store.results import load_results
from tests.contracts.test_one_place import train_here
from tests.report.conftest import evidence_of, store_study, study_of
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
    orthogonal = {"norm": "none", "init": "delta_orthogonal"}
    kinds = {
        "he": {"of": "plain_mlp", "options": {"norm": "none"}},
        "xavier": {"of": "plain_mlp", "options": {"norm": "none", "init": "xavier"}},
        "residual": {"of": "resnet_mlp", "options": {"norm": "none"}},
        "layer": {"of": "plain_mlp", "options": orthogonal},
        "slope_limit": {"of": "plain_mlp", "options": orthogonal | {"activation": "tanh"}},
        "shortcut": {"of": "resnet_mlp", "options": {"learned_scale": "scalar"}},
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
    for source in (
        "1502.01852",
        "Glorot & Bengio 2010",
        "1902.08129",
        "2002.10444",
        "variances of shortcut",
        "1806.05393",
        "2003.04887",
    ):
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


KINDS = {  # label -> value, whether it was measured, marker, height
    "exactly zero in a seed": (0.0, True, "v", 0),
    "infinite in a seed": (np.inf, True, "^", 1),
    "minus infinity in a seed": (-np.inf, True, "s", 0),
    "not a number in a seed": (np.nan, True, "x", 1),
    "not measured in a seed": (np.nan, False, "o", 0),
}


@pytest.mark.parametrize("label", KINDS)
def test_each_kind_of_value_that_a_log_axis_cannot_show_has_its_own_mark(results, label):
    value, was_measured, marker, height = KINDS[label]
    layers = results.layers.assign(not_measured="")
    at = (layers["layer"] == 3) & (layers["seed"] == 1) & (layers["step"] == 0)
    layers.loc[at, "grad_norm_weight"] = value
    layers.loc[at, "not_measured"] = "" if was_measured else "grad_norm_weight"
    figure = draw("gradient_weight", results._replace(layers=layers))
    assert set(legend(figure)) & set(KINDS) == {label}
    assert legend(figure)[label].get_marker() == marker
    marks = [line for line in panels(figure)[0].lines if line.get_linestyle() == "None"]
    assert {line.get_marker() for line in marks} == {marker}
    assert [line.get_ydata() for line in marks] == [[height]] * 3
    assert sorted(line.get_xdata()[0] for line in marks) == pytest.approx([2 / 19, 2 / 13, 2 / 7])
    assert not any(line.get_linestyle() == "None" for line in panels(figure)[2].lines)  # the next step


def test_a_point_between_two_gaps_is_visible(results):
    layers = results.layers.copy()
    layers.loc[layers["layer"].isin([1, 3, 8]), "grad_norm_weight"] = np.nan
    layers.loc[layers["layer"].isin([5]), "grad_norm_weight"] = 0.0
    figure = draw("gradient_weight", results._replace(layers=layers))
    line = next(line for line in panels(figure)[0].lines if len(line.get_xdata()) == 8)
    assert (line.get_marker(), line.get_markevery()) == ("o", [1, 3])  # layers 6 and 7 are a line
    assert isolated(pd.Series([1.0])) == [0]
    assert isolated(pd.Series([np.nan, 1.0, 2.0, np.nan, 3.0])) == [4]
    assert isolated(pd.Series([1.0, 2.0, 3.0])) == []


@pytest.mark.parametrize("value", [0.0, np.inf, np.nan])
@pytest.mark.parametrize(
    "name", ["gradient_weight", "response_std", "first_steps", "compare_gradient_weight"]
)
def test_values_that_are_all_alike_leak_no_warning(results, value, name):
    columns = ["grad_norm_preact", "grad_norm_weight", "weight_norm", "response_std"]
    layers = results.layers.assign(**dict.fromkeys(columns, value))
    evidence = evidence_of(results._replace(layers=layers))
    with warnings.catch_warnings(action="error"), canvas.styled():
        if name in COMPARISON_FIGURES:
            figure = COMPARISON_FIGURES[name].load().draw(Comparison({"a": evidence, "b": evidence}))
        else:
            figure = FIGURES[name].load().draw(evidence)
        if figure is not None:
            figure.draw_without_rendering()
    assert figure is not None


def test_gradient_names_lines_of_fewer_seeds(partial_results):
    first, *_ = note(draw("gradient_preact", partial_results)).splitlines()
    assert first == (
        "Some runs were not probed at every step: plain 14 (2 of 3 runs), plain 20 (2 of 3 runs), "
        "resnet 20 (1 of 2 runs)"
    )


def test_theory_is_in_ink_above_the_data(figure):
    for axes in panels(figure)[:2]:
        drawn = [line for line in axes.lines if line.get_linestyle() == DASHED]
        measured = [line for line in axes.lines if line.get_linestyle() == "-"]
        assert {line.get_color() for line in drawn} == {canvas.INK}
        assert min(line.get_zorder() for line in drawn) > max(line.get_zorder() for line in measured)
        assert max(line.get_linewidth() for line in drawn) < min(line.get_linewidth() for line in measured)


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("page", "Shown: steps 0, 1, 100 and 199 of 5 probed steps. The heat maps by step show all."),
        ("slides", "Shown: steps 0 and 199 of 5 probed steps. The page shows more."),
    ],
)
def test_the_note_names_the_steps_shown(results, style, expected):
    assert expected in note(draw("gradient_preact", results, style)).replace("\n", " ")


def test_the_note_is_silent_if_all_steps_are_shown(results):
    layers = results.layers[results.layers["step"].isin([0, 1])]
    assert "Shown" not in note(draw("gradient_preact", results._replace(layers=layers)))


def test_every_layer_of_every_line_is_described(figure):
    figure.draw_without_rendering()
    described = points.collect(figure)
    names = [series["name"] for series in described]
    assert names.count("plain, depth 20, geometric mean of 3 seeds") == 4  # steps
    measured = next(series for series in described if series["name"] == names[0])
    assert [x for _, _, x, _ in measured["points"]] == list(range(1, 21))
    assert {series["id"] for series in described} >= {"shows:depth-8.network-plain"}
    theory = [series for series in described if "theory" in series["name"]]
    assert len(theory) == 12


def branches_start_at_zero(layers, column):
    """Layers 3 and 5 of resnet-8 receive no gradient at step 0."""
    changed = layers.copy()
    at = (layers["network"] == "resnet") & (layers["depth"] == 8) & (layers["step"] == 0)
    changed.loc[at & layers["layer"].isin([3, 5]), column] = 0.0
    return changed


def test_zeros_by_design_are_labelled_at_the_edge(results):
    layers = branches_start_at_zero(results.layers, "grad_norm_weight")
    figure = draw("gradient_weight", results._replace(layers=layers))
    label = "zero by design, because a later factor starts at zero or a branch is dropped"
    assert label in legend(figure)
    assert "exactly zero in a seed" not in legend(figure)
    figure.draw_without_rendering()
    (marks,) = (s for s in points.collect(figure) if s["name"] == "resnet, depth 8")
    assert [(x, y) for _, _, x, y in marks["points"]] == [(n, f"{label} in 3 of 3 seeds") for n in (3, 5)]


def test_a_few_of_many_depths_have_a_colour():
    colours = palette.chosen_depth_colours(list(range(10, 130, 10)))
    assert len(colours) == 12
    chosen = palette.named_depths(colours)
    assert len(chosen) == 6
    assert {10, 120} <= set(chosen)
    assert "other depths" in [handle.get_label() for handle in background_handles(colours, {})]


def test_thirty_decades_do_not_flatten_the_range_around_1(results):
    layers = results.layers.copy()
    layers.loc[(layers["layer"] == 1) & (layers["network"] == "plain"), "grad_norm_weight"] = 1e-24
    figure = draw("gradient_weight", results._replace(layers=layers))
    assert "Shaded: the scale is compressed below 10⁻³" in note(figure)
    axes = panels(figure)[1]
    low, high = axes.transAxes.inverted().transform(axes.transData.transform([(0, 1e-3), (0, 0.1)]))[:, 1]
    assert high - low > 0.4


class Detached(nn.Module):
    """Only the head learns."""

    def __init__(self, depth, in_channels, num_classes):
        super().__init__()
        self.a, self.b, self.h = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, num_classes)

    def forward(self, x):
        return self.h(self.b(self.a(x.flatten(1)).relu()).relu().detach())


def test_a_run_of_layers_that_no_gradient_reaches(tmp_path, monkeypatch):
    """Trained, stored, loaded and drawn: the head is a point, and the others are marked as not measured."""
    monkeypatch.setitem(NETWORKS, "detached", Family(Detached, "only the head learns"))
    study = {
        "data": {"name": "digits"},
        "recipe": {"steps": 2, "batch_size": 64, "pad": 0, "flip": False},
        "evaluate": {"every": 2, "train_size": 40},
        "grid": {"network": ["detached"], "depth": [3], "seed": [0]},
    }
    monkeypatch.setitem(BACKENDS, "here", BackendEntry(train_here, "this process"))
    path = run_study(load_study(None, **study), execution=Execution(results=tmp_path, backend="here"))
    layers = load_results(path).layers
    assert layers["not_measured"].str.contains("grad_norm_preact").tolist() == [True, True, False] * 2
    evidence = Evidence.load(path)
    assert evidence.not_measured.to_dict("records") == [
        {"network": "detached", "depth": 3, "reason": UNREACHED, "seeds": [0], "names": ["a", "b"]}
    ]
    figure = draw("gradient_preact", evidence)
    assert set(legend(figure)) == {"depth 3", "not measured in a seed"}
    head, unmeasured = panels(figure)[0].lines[:2]
    assert (head.get_marker(), head.get_markevery()) == ("o", [2])
    assert head.get_ydata()[2] == pytest.approx(0.118, abs=0.002)
    assert unmeasured.get_xdata().tolist() == [0, 0.5]
    heat = draw("heatmap_preact", evidence)
    assert set(legend(heat)) == {"not measured in a seed"}
    (finding,) = diagnose(*evidence.results).to_dict("records")
    assert (finding["finding"], finding["evidence"]["names"]) == ("no_gradient", ("a", "b"))
