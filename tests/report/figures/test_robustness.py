import pandas as pd

from depthbench.analysis.robustness import summarise_robustness
from depthbench.report.style import palette
from tests.report.looking import draw

ERRORS = {0.0: 5.0, 8.0: 6.0, 64.0: 40.0}


def frame(networks=("plain", "resnet")):
    return pd.DataFrame(
        {"run_id": f"{n}-{d}-s{s}", "network": n, "depth": d, "seed": s}
        | {"corruption": "noisy", "strength": strength, "test_error": error + s + (n == "plain")}
        for n in networks
        for d in (8, 20)
        for s in (0, 2)
        for strength, error in ERRORS.items()
    )


def test_twins_share_a_panel_the_plain_one_dashed(results):
    figure = draw("robustness", results, robustness=summarise_robustness(frame()))
    (axes,) = (axes for axes in figure.axes if axes.get_title())
    assert axes.get_title() == "plain and resnet, noisy"
    assert axes.get_xlabel() == "standard deviation,\nwhite is 255"
    lines = {(line.get_color(), line.get_linestyle()): line.get_ydata().tolist() for line in axes.lines}
    colours = palette.depth_colours([8, 14, 20])
    assert lines[colours[8], "--"] == [7, 8, 42]
    assert lines[colours[20], "-"] == [6, 7, 41]
    assert "2 seeds" in figure.get_suptitle()


def test_one_network_has_only_depths_in_the_legend_and_none_gives_no_figure(results):
    figure = draw("robustness", results, robustness=summarise_robustness(frame(["resnet"])))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["depth 8", "depth 14", "depth 20"]
    assert draw("robustness", results, robustness=pd.DataFrame()) is None


def test_a_corruption_of_another_version_comes_last(results):
    table = pd.concat([frame(["resnet"]).assign(corruption="warped"), frame(["resnet"])], ignore_index=True)
    figure = draw("robustness", results, robustness=summarise_robustness(table))
    axes = [axes for axes in figure.axes if axes.get_title()]
    assert [each.get_title() for each in axes] == ["resnet, noisy", "resnet, warped"]
    assert axes[1].get_xlabel() == "strength"
    assert axes[1].get_xticks().tolist() == list(ERRORS)


def test_twins_of_many_depths_have_panels_of_their_own(results):
    """Eight lines in one panel cannot be told apart."""
    table = pd.concat([frame(), frame().assign(depth=lambda rows: rows["depth"] + 6)], ignore_index=True)
    runs = pd.concat([results.runs, results.runs.assign(depth=26)], ignore_index=True)
    figure = draw("robustness", results._replace(runs=runs), robustness=summarise_robustness(table))
    assert [axes.get_title() for axes in figure.axes] == ["plain, noisy", "resnet, noisy"]
