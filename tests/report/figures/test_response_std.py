from matplotlib.colors import to_hex

from depthbench.report import FIGURES, style
from depthbench.store.results import Results, load_results
from tests.report.conftest import store_study, study_of
from tests.report.test_figures import legend, panel, panels


def test_twins_share_a_panel_and_differ_by_dashes(results):
    figure = FIGURES["response_std"].draw(results)
    assert [axes.get_title() for axes in panels(figure)] == [
        "plain and resnet, original",
        "plain and resnet, sorted",
    ]
    looks = [
        (to_hex(x.get_color()), x.get_linestyle()) for x in panel(figure, "plain and resnet, sorted").lines
    ]
    depths = style.depth_colours([8, 14, 20]).values()
    assert sorted(looks) == sorted((colour, dash) for colour in depths for dash in ("-", "--"))
    assert legend(figure)["plain"].get_linestyle() == "--"
    assert legend(figure)["residual"].get_linestyle() == "-"


def test_a_network_without_its_twin_has_solid_lines(results):
    one = Results(*(frame[frame["network"] == "plain"] for frame in results))
    figure = FIGURES["response_std"].draw(one)
    assert [axes.get_title() for axes in panels(figure)] == ["plain, original", "plain, sorted"]
    assert {line.get_linestyle() for line in panels(figure)[0].lines} == {"-"}
    assert not {"plain", "residual"} & set(legend(figure))


def test_a_variant_stands_alone_unless_its_twin_has_the_same_options(tmp_path):
    variants = {
        "bare": {"of": "plain", "options": {"norm": "none"}},
        "bare-residual": {"of": "resnet", "options": {"norm": "none"}},
        "bare-tanh": {"of": "resnet", "options": {"norm": "none", "activation": "tanh"}},
    }
    study = study_of(("plain", "resnet", *variants), depths=(8,), seeds=(0,), variants=variants)
    figure = FIGURES["response_std"].draw(load_results(store_study(tmp_path / "made-up", study)))
    titles = {
        axes.get_title().removesuffix(", sorted") for axes in panels(figure)[len(panels(figure)) // 2 :]
    }
    assert titles == {"plain and resnet", "bare and bare-residual", "bare-tanh"}
