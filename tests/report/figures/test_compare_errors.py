from depthbench.report.figures import COMPARISON_FIGURES
from depthbench.report.style import palette
from tests.report.looking import legend, panel


def test_each_study_has_a_line_through_its_means(compared):
    """At depth 20, `partial` has errors of 8, 8.4 and, in its diverged run, 90 %."""
    figure = COMPARISON_FIGURES["compare_errors"].load().draw(compared)
    looks = palette.study_looks(["whole", "partial", "other"])
    axes = panel(figure, "plain: train error")
    ends = {
        study: [line.get_ydata()[-1] for line in axes.lines if line.get_color() == look["color"]]
        for study, look in looks.items()
    }
    assert any(abs(end - 35.47) < 0.01 for end in ends["partial"])
    assert not any(abs(end - 35.47) < 0.01 for end in ends["whole"])
    assert {"whole", "partial", "other"} <= set(legend(figure))


def test_each_of_many_studies_has_a_panel_with_the_first_in_the_background(many_studies):
    figure = COMPARISON_FIGURES["compare_errors"].load().draw(many_studies)
    assert [axes.get_title() for axes in figure.axes] == list("abcdefg")
    for axes in figure.axes:
        context = [line for line in axes.lines if line.get_color() == palette.BACKGROUND]
        assert len(context) == (0 if axes.get_title() == "a" else 2)  # networks
        labelled = axes.get_title() in "efg"  # nothing is below
        assert axes.get_xlabel() == ("depth" if labelled else "")
    assert {"plain", "resnet", "a"} == set(legend(figure))
