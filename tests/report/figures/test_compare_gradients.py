from depthbench.report.evidence import Comparison
from depthbench.report.figures import COMPARISON_FIGURES
from tests.report.conftest import evidence_of
from tests.report.looking import legend

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
