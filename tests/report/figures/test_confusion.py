import pandas as pd
import pytest

from tests.report.looking import draw as draw_figure
from tests.report.looking import stays_on_paper

DIGITS = list("0123456789")


def predicted(network, depths, seeds=(0, 1), classes=DIGITS):
    """Return one image per class, predicted correctly, except that seed 1 predicts class 2 for class 1."""
    frames = []
    for depth in depths:
        for seed in seeds:
            label = list(range(len(classes)))
            called = [seed, *label[1:]]
            keys = {"run_id": f"{network}-{depth}-s{seed}", "network": network, "depth": depth, "seed": seed}
            codes = {"label": label, "predicted": called}
            names = {key: pd.Categorical.from_codes(c, classes) for key, c in codes.items()}
            frames.append(pd.DataFrame(keys | names))
    return pd.concat(frames, ignore_index=True)


def draw(results, predictions):
    figure = draw_figure("confusion", results, predictions=predictions)
    figure.draw_without_rendering()
    return figure


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title() and axes.get_visible()]


def test_the_shallowest_and_the_deepest_depth_of_each_network(results):
    both = pd.concat([predicted("plain", (8, 14, 20)), predicted("resnet", (14,))], ignore_index=True)
    figure = draw(results, both)
    assert titles(figure) == ["plain, depth 8", "resnet, depth 14", "plain, depth 20"]
    assert "2 seeds" in figure.get_suptitle()
    assert stays_on_paper(figure)


def test_classes_are_named_at_the_edges_of_what_is_shown(results):
    both = pd.concat([predicted("plain", (8, 20)), predicted("resnet", (14,))], ignore_index=True)
    panels = {axes.get_title(): axes for axes in draw(results, both).axes if axes.get_visible()}
    below = {title for title, axes in panels.items() if len(axes.get_xticks()) and title}
    left = {title for title, axes in panels.items() if axes.get_ylabel() == "class"}
    assert below == {"plain, depth 20", "resnet, depth 14"}
    assert left == {"plain, depth 8", "plain, depth 20"}


@pytest.mark.parametrize(("networks", "numbers"), [(2, ["50", "50", "100"]), (6, [])])
def test_cells_show_numbers_if_they_fit(results, networks, numbers):
    panel = draw(results, pd.concat([predicted(f"net{i}", (8,)) for i in range(networks)])).axes[0]
    assert [text.get_text() for text in panel.texts if text.get_text()][:3] == numbers
    assert panel.collections[0].get_array().ravel()[:3].tolist() == [50, 50, 0]


def test_many_classes_or_no_predictions_give_no_figure(results):
    for frame in (pd.DataFrame(), predicted("plain", (8,), classes=list("abcdefghijklm"))):
        assert draw_figure("confusion", results, predictions=frame) is None
