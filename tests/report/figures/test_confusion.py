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
    assert titles(figure) == ["plain, depth 8", "plain, depth 20", "resnet, depth 14"]
    assert "2 seeds" in figure.get_suptitle()
    assert stays_on_paper(figure)


def test_classes_are_named_at_the_edges_of_what_is_shown(results):
    """Two networks with two depths each: a row per network."""
    both = pd.concat([predicted("plain", (8, 20)), predicted("resnet", (8, 20))], ignore_index=True)
    panels = {axes.get_title(): axes for axes in draw(results, both).axes if axes.get_visible()}
    below = {title for title, axes in panels.items() if len(axes.get_xticks()) and title}
    left = {title for title, axes in panels.items() if axes.get_ylabel() == "class"}
    assert below == {"resnet, depth 8", "resnet, depth 20"}
    assert left == {"plain, depth 8", "resnet, depth 8"}


def test_panels_without_predictions_are_left_out(results):
    many = pd.concat([predicted("plain", (8,)), *(predicted(f"net{i}", (8, 20)) for i in range(4))])
    figure = draw(results, many.reset_index(drop=True))
    assert len(titles(figure)) == 9
    assert len(figure.axes) == 9 + 1  # and the colour bar
    assert stays_on_paper(figure)


def test_the_depths_of_many_networks_are_below_each_other(results):
    many = pd.concat([predicted(f"net{i}", (8, 20)) for i in range(4)], ignore_index=True)
    places = {
        axes.get_title(): axes.get_subplotspec() for axes in draw(results, many).axes if axes.get_title()
    }
    for i in range(4):
        shallow, deep = places[f"net{i}, depth 8"], places[f"net{i}, depth 20"]
        assert shallow.colspan == deep.colspan
        assert shallow.rowspan.start + 1 == deep.rowspan.start


def test_a_slide_of_many_networks_shows_the_deepest(results):
    many = pd.concat([predicted(f"net{i}", (8, 20)) for i in range(5)], ignore_index=True)
    figure = draw_figure("confusion", results, style="slides", predictions=many)
    figure.draw_without_rendering()
    assert titles(figure) == [f"net{i}, depth 20" for i in range(5)]
    assert "deepest" in figure.get_suptitle()
    assert stays_on_paper(figure)


@pytest.mark.parametrize(("classes", "numbers"), [(DIGITS, ["50", "50", "100"]), (list("abcdefghijkl"), [])])
def test_cells_show_numbers_if_they_fit(results, classes, numbers):
    many = [predicted(f"net{i}", (8,), classes=classes) for i in range(6)]
    panel = draw(results, pd.concat(many)).axes[0]
    assert [text.get_text() for text in panel.texts if text.get_text()][:3] == numbers
    assert panel.collections[0].get_array().ravel()[:3].tolist() == [50, 50, None]  # zero is not coloured


def test_many_classes_or_no_predictions_give_no_figure(results):
    for frame in (pd.DataFrame(), predicted("plain", (8,), classes=list("abcdefghijklm"))):
        assert draw_figure("confusion", results, predictions=frame) is None
