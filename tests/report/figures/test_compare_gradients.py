from depthbench.report.evidence import Comparison
from depthbench.report.figures import COMPARISON_FIGURES
from depthbench.report.figures.gradient_by_layer import BY_DESIGN
from depthbench.report.style import points
from tests.report.conftest import evidence_of
from tests.report.looking import legend, panels

FIGURE = COMPARISON_FIGURES["compare_gradient_preact"]


def test_initialisation_is_dotted_and_the_last_common_step_solid(compared):
    entries = legend(FIGURE.load().draw(compared))
    assert entries["step 0 (initialisation)"].get_linestyle() == "--"
    assert entries["step 199"].get_linestyle() == "-"


def test_studies_without_a_common_step_show_nothing(results):
    early, late = (
        results._replace(layers=results.layers[results.layers["step"].isin(steps)])
        for steps in ([0, 1], [10, 100])
    )
    assert FIGURE.load().draw(Comparison({"a": evidence_of(early), "b": evidence_of(late)})) is None


def test_there_is_a_panel_for_each_network_and_depth_and_no_empty_one(results):
    """plain at three depths and resnet at one: four panels, not six."""
    layers = results.layers[(results.layers["network"] == "plain") | (results.layers["depth"] == 8)]
    evidence = evidence_of(results._replace(layers=layers))
    figure = FIGURE.load().draw(Comparison({"a": evidence, "b": evidence}))
    assert [axes.get_title() for axes in figure.axes] == [
        *("plain, depth 8", "plain, depth 14", "plain, depth 20"),
        "resnet, depth 8",
    ]
    assert all(len(axes.lines) == 4 for axes in panels(figure))


def test_zeros_by_design_are_distinguished_from_others(results):
    """Later steps identify them, although the figure shows only the last step."""
    layers = results.layers.copy()
    at = (layers["layer"] == 3) & layers["step"].isin([0, 1])
    layers.loc[at, "grad_norm_preact"] = 0.0
    evidence = evidence_of(results._replace(layers=layers))
    labels = legend(FIGURE.load().draw(Comparison({"a": evidence, "b": evidence_of(results)})))
    assert BY_DESIGN in labels
    assert "exactly zero in a seed" not in labels


def test_more_than_six_lines_are_split_by_step(results):
    evidence = evidence_of(results)
    figure = FIGURE.load().draw(Comparison(dict.fromkeys("abcd", evidence)))
    titles = [axes.get_title() for axes in panels(figure)]
    assert titles[:2] == ["plain, depth 8, step 0", "plain, depth 8, step 199"]
    assert all(len(axes.lines) == 4 for axes in panels(figure))


def test_studies_that_coincide_are_all_visible(compared):
    figure = FIGURE.load().draw(compared)
    widths = [line.get_linewidth() for line in panels(figure)[0].lines if line.get_linestyle() == "-"]
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) == len(widths) > 1


def test_every_line_is_described(compared):
    figure = FIGURE.load().draw(compared)
    figure.draw_without_rendering()
    names = {series["name"] for series in points.collect(figure)}
    assert "whole, plain, depth 20, step 199, geometric mean of 3 seeds" in names


def test_each_of_many_studies_has_a_panel_for_each_network(many_studies):
    figure = FIGURE.load().draw(many_studies)
    assert "step 199" in figure.get_suptitle()
    shown = {axes.get_title(): len(axes.lines) for axes in panels(figure)}
    titles = [f"{study}: {network}" for study in "abcdefg" for network in ("plain", "resnet")]
    assert list(shown) == titles
    assert list(shown.values()) == [3, 3, *[6] * 12]  # three depths, and those of the first study
