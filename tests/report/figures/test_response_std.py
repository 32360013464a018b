import numpy as np
import pytest
from matplotlib.colors import to_hex

from depthbench.report.style import palette
from depthbench.store.results import Results, load_results
from tests.report.conftest import store_study, study_of
from tests.report.looking import draw, legend, panel, panels


def test_twins_share_a_panel_and_differ_by_dashes(results):
    figure = draw("response_std", results)
    assert [axes.get_title() for axes in panels(figure)] == [
        "plain and resnet, layer order",
        "plain and resnet, sorted",
    ]
    looks = [
        (to_hex(x.get_color()), x.get_linestyle()) for x in panel(figure, "plain and resnet, sorted").lines
    ]
    depths = palette.depth_colours([8, 14, 20]).values()
    assert sorted(looks) == sorted((colour, dash) for colour in depths for dash in ("-", "--"))
    assert legend(figure)["plain"].get_linestyle() == "--"
    assert legend(figure)["residual"].get_linestyle() == "-"


def test_a_network_without_its_twin_has_solid_lines(results):
    one = Results(*(frame[frame["network"] == "plain"] for frame in results))
    figure = draw("response_std", one)
    assert [axes.get_title() for axes in panels(figure)] == ["plain, layer order", "plain, sorted"]
    assert {line.get_linestyle() for line in panels(figure)[0].lines} == {"-"}
    assert not {"plain", "residual"} & set(legend(figure))


def test_a_variant_has_its_own_panel_unless_its_twin_has_the_same_options(tmp_path):
    variants = {
        "bare": {"of": "plain", "options": {"norm": "none"}},
        "bare-residual": {"of": "resnet", "options": {"norm": "none"}},
        "bare-tanh": {"of": "resnet", "options": {"norm": "none", "activation": "tanh"}},
    }
    study = study_of(("plain", "resnet", *variants), depths=(8,), seeds=(0,), variants=variants)
    figure = draw("response_std", load_results(store_study(tmp_path / "made-up", study)))
    titles = {
        axes.get_title().removesuffix(", sorted") for axes in panels(figure)[len(panels(figure)) // 2 :]
    }
    assert titles == {"plain and resnet", "bare and bare-residual", "bare-tanh"}


def test_response_std_leaves_the_classifier_out_and_sorts(results):
    figure = draw("response_std", results)
    colour = palette.depth_colours([8, 14, 20])[8]
    lines = [
        next(x for x in panel(figure, f"plain and resnet, {order}").lines if x.get_color() == colour)
        for order in ("layer order", "sorted")
    ]
    original, ranked = (line.get_ydata() for line in lines)
    assert len(original) == 7
    assert list(ranked) == pytest.approx(sorted(original, reverse=True))
    assert original[0] == pytest.approx((1.1 * 1.2) ** (1 / 3) * (1.5 + np.sin(1)) / 8**0.5)
    assert "step 199" in figure.get_suptitle()
