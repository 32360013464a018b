"""What holds for every figure, and what single figures show. The numbers are those of conftest.py."""

import re
from functools import cache

import numpy as np
import pandas as pd
import pytest

from depthbench.report import FIGURES, style
from depthbench.store.results import Results, load_results
from tests.report.conftest import CHANCE, DRAWN, store_study, study_of

PER_NETWORK = ("curves", "gradient_preact", "gradient_weight", "response_std")
PROBED = [name for name in DRAWN if name not in ("curves", "paper_errors", "degradation", "choice")]


def panels(figure):
    return [axes for axes in figure.axes if axes.get_title()]


def panel(figure, title):
    return next(axes for axes in figure.axes if axes.get_title() == title)


def colour_of(axes):
    """The colours of the solid lines of a panel."""
    return {
        line.get_color() for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata()) > 1
    }


def legend(figure):
    return {
        text.get_text(): handle
        for box in figure.legends
        for text, handle in zip(box.get_texts(), box.legend_handles, strict=True)
    }


@pytest.fixture(scope="module")
def drawn(results):
    """name -> the figure of the whole study, made once: tests only look at it."""
    return cache(lambda name: FIGURES[name].draw(results))


@pytest.fixture(scope="module", params=DRAWN)
def laid_out(request, partial_results):
    """Each figure of the half-finished study, its parts at their places."""
    figure = FIGURES[request.param].draw(partial_results)
    figure.draw_without_rendering()
    return figure


def test_every_figure_has_a_title_units_and_legible_text(laid_out):
    assert laid_out.get_suptitle()
    assert laid_out.get_size_inches()[0] == style.CANVASES["paper"].width
    texts = [text for text in laid_out.findobj(lambda a: hasattr(a, "get_fontsize")) if text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 7
    labels = " ".join(axes.get_xlabel() + axes.get_ylabel() for axes in laid_out.figure.axes)
    assert re.search(r"\(%\)|\(1 = input\)|as a part of the depth|updates made", labels)


def stays_on_paper(figure):
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    return min(box.x0, box.y0) >= -0.01 and box.x1 <= width + 0.01 and box.y1 <= height + 0.01


def test_every_figure_stays_on_its_paper(laid_out):
    assert stays_on_paper(laid_out)


@pytest.mark.parametrize("name", ["choice", "paper_errors", "heatmap_preact"])
def test_nothing_of_a_slide_is_cut_off(partial_results, name):
    figure = FIGURES[name].draw(partial_results, style="slides")
    figure.draw_without_rendering()
    assert stays_on_paper(figure)
    widths = [box.get_window_extent().width / figure.dpi for box in figure.legends]
    assert max(widths, default=0) <= figure.get_figwidth()


def test_no_legend_covers_a_panel(laid_out):
    legends = [box.get_window_extent() for box in laid_out.legends]
    for axes in laid_out.axes:
        assert not any(box.overlaps(axes.get_tightbbox()) for box in legends)


@pytest.mark.parametrize("name", DRAWN)
class TestEveryFigure:
    def test_all_panels_of_an_error_or_norm_share_one_scale(self, drawn, name):
        shown = panels(drawn(name))
        assert len(shown) >= 2
        if name.startswith("heatmap"):
            norms = [axes.collections[0].norm for axes in shown]
            assert len({(norm.vmin, norm.vmax) for norm in norms}) == 1
        elif name == "first_steps":  # a row a quantity
            for row in (shown[:2], shown[2:]):
                assert len({axes.get_ylim() for axes in row}) == 1
        else:
            assert len({axes.get_ylim() for axes in shown}) == 1

    def test_one_network_alone_is_drawn(self, results, name):
        one = Results(*(frame[frame["network"] == "resnet"] for frame in results))
        figure = FIGURES[name].draw(one)
        figure.draw_without_rendering()
        assert stays_on_paper(figure)
        titles = [axes.get_title() for axes in panels(figure)]
        assert titles
        assert not any("plain" in title for title in titles)

    def test_nothing_to_show_is_none(self, results, name):
        failed = results.runs.assign(status="failed", test_error=None, train_error_eval=None)
        assert FIGURES[name].draw(Results(failed, results.history.iloc[:0], results.layers.iloc[:0])) is None


@pytest.mark.parametrize("name", PROBED)
def test_a_probe_that_was_not_selected_is_none(results, name):
    columns = ["grad_norm_weight", "grad_norm_preact", "response_std"]
    assert FIGURES[name].draw(results._replace(layers=results.layers.drop(columns=columns))) is None


@pytest.mark.parametrize("name", PER_NETWORK)
def test_a_depth_has_the_same_colour_in_every_panel_and_figure(drawn, name):
    expected = style.depth_colours([8, 14, 20])
    figure = drawn(name)
    for axes in panels(figure):
        assert colour_of(axes) == set(expected.values())
    for depth, colour in expected.items():
        assert legend(figure)[f"depth {depth}"].get_color() == colour


def test_curves_test_error_is_bold_and_train_error_thin_and_dashed(drawn):
    handles = legend(drawn("curves"))
    test, train = handles["test error"], handles["train error, on the fly"]
    assert test.get_linewidth() > 2 * train.get_linewidth()
    assert (test.get_linestyle(), train.get_linestyle()) == ("-", "--")


def test_curves_end_at_the_mean_of_the_final_errors(drawn):
    figure = drawn("curves")
    colour = style.depth_colours([8, 14, 20])[20]
    line = next(x for x in panel(figure, "plain").lines if x.get_color() == colour and x.get_linewidth() > 1)
    assert line.get_xydata()[-1] == pytest.approx([200, 11 + 0.4])  # seeds 0 to 2: 11, 11.4, 11.8
    assert "mean of 3 seeds" in figure.get_suptitle()


def test_curves_mark_where_runs_ended_early(partial_results):
    figure = FIGURES["curves"].draw(partial_results)
    marks = {
        (axes.get_title(), line.get_marker()): line.get_xydata()[0].tolist()
        for axes in panels(figure)
        for line in axes.lines
        if line.get_marker() != "None"
    }
    assert marks["plain", style.MARKS["diverged"]] == [60, CHANCE]
    assert marks["resnet", style.MARKS["interrupted"]][0] == 120
    assert marks["plain", style.MARKS["failed"]] == [0, 0.98]  # at the top edge: it has no error
    assert len(marks) == 3
    assert panel(figure, "plain").get_ylim()[1] > CHANCE


def test_degradation_shows_every_seed_mean_and_interval(drawn):
    axes = panel(drawn("degradation"), "test error")
    points = sorted(
        (*line.get_xydata()[0],)
        for line in axes.lines
        if line.get_marker() in "os" and len(line.get_xdata()) == 1
    )
    assert len(points) == 18
    assert points[:3] == [(8, pytest.approx(5)), (8, pytest.approx(5)), (8, pytest.approx(5.4))]
    means = [line.get_ydata().tolist() for line in axes.lines if line.get_linestyle() == "-"]
    assert means[0] == pytest.approx([5.4, 8.4])
    assert means[1] == pytest.approx([8.4, 11.4])
    ends = axes.collections[0].get_segments()[0][:, 1]  # the bar of plain at depth 8
    half = 4.302653 * 0.4 / 3**0.5
    assert ends == pytest.approx([5.4 - half, 5.4 + half], abs=1e-4)


def test_degradation_marks_runs_that_did_not_end_well(partial_results):
    figure = FIGURES["degradation"].draw(partial_results)
    axes = panel(figure, "train error, evaluation mode")
    marks = {
        line.get_marker(): line.get_xydata()[0].tolist()
        for line in axes.lines
        if line.get_marker() in set("XP*")
    }
    assert marks == {"X": [20, CHANCE], "P": [14, 0.98], "*": [20, 0.98]}  # two at the top edge
    assert "1 to 3 seeds" in figure.get_suptitle()
    assert "diverged, counted at chance error" in legend(figure)


def test_degradation_of_depths_far_apart_is_logarithmic(tmp_path):
    path = store_study(tmp_path / "far", study_of(depths=(8, 110), seeds=(0,)))
    axes = panel(FIGURES["degradation"].draw(load_results(path)), "test error")
    assert axes.get_xscale() == "log"
    assert axes.get_xticks().tolist() == [8, 110]


@pytest.mark.parametrize(("depths", "turned"), [((20, 56, 110), False), ((110, 164, 998), True)])
def test_depths_that_would_touch_stand_upright(depths, turned, tmp_path):
    path = store_study(tmp_path / "close", study_of(depths=depths, seeds=(0,)))
    axes = panel(FIGURES["degradation"].draw(load_results(path)), "test error")
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {90.0 if turned else 0.0}


def test_many_networks_of_one_depth_have_a_row_each(partial_results):
    """And a diverged, a failed and an interrupted run a mark each."""
    frame = partial_results.runs
    alone = [frame[frame["network"] == "plain"].assign(network=f"mine-{i}", depth=20 + i) for i in range(5)]
    many = partial_results._replace(runs=pd.concat([frame, *alone], ignore_index=True))
    figure = FIGURES["degradation"].draw(many)
    axes = panel(figure, "train error, evaluation mode")
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows[:2] == ["plain, depth 8", "resnet, depth 8"]
    assert rows[-1] == "mine-4, depth 24"
    assert [name for name in rows if name.startswith("mine")] == [
        f"mine-{i}, depth {20 + i}" for i in range(5)
    ]
    row = rows.index("plain, depth 8")
    seeds = [
        line.get_xdata()[0]
        for line in axes.lines
        if line.get_marker() == "o" and abs(line.get_ydata()[0] - row) < 0.3
    ]
    stored = frame[(frame["network"] == "plain") & (frame["depth"] == 8) & (frame["status"] == "done")]
    assert sorted(seeds) == sorted(stored["train_error_eval"])
    stroke = next(x for x in axes.lines if x.get_ydata().tolist() == [row - 0.36, row + 0.36])
    assert stroke.get_xdata()[0] == pytest.approx(np.mean(seeds))
    marks = {line.get_marker(): line.get_xdata()[0] for line in axes.lines if line.get_marker() in set("XP*")}
    assert marks == {"X": CHANCE, "P": 0.985, "*": 0.985}
    assert "diverged, counted at chance error" in legend(figure)


def test_gradient_has_a_row_a_chosen_step_and_the_geometric_mean(drawn):
    figure = drawn("gradient_preact")
    assert [axes.get_title() for axes in panels(figure)[::2]] == [
        "plain, step 0 (initialisation)",
        "plain, step 1",
        "plain, step 100",
        "plain, step 199",
    ]
    axes = panels(figure)[0]
    assert axes.get_yscale() == "log"
    line = next(x for x in axes.lines if x.get_color() == style.depth_colours([8, 14, 20])[8])
    seeds = (1 * 1.3 * 1.6) ** (1 / 3)
    assert line.get_xydata()[0] == pytest.approx([0, seeds * 0.7**7])
    assert line.get_xydata()[-1] == pytest.approx([1, seeds])


@pytest.mark.parametrize(
    ("value", "told"), [(0.0, "exactly zero in a seed"), (np.inf, "infinite or not a number in a seed")]
)
def test_gradient_marks_what_a_log_axis_cannot_hold(results, value, told):
    layers = results.layers.copy()
    layers.loc[(layers["layer"] == 3) & (layers["seed"] == 1) & (layers["step"] == 0), "grad_norm_weight"] = (
        value
    )
    figure = FIGURES["gradient_weight"].draw(results._replace(layers=layers))
    assert told in legend(figure)
    marks = [line for line in panels(figure)[0].lines if line.get_marker() in "v^"]
    assert [line.get_xdata()[0] for line in marks] == pytest.approx([2 / 7, 2 / 13, 2 / 19])
    assert not any(line.get_marker() in "v^" for line in panels(figure)[2].lines)  # the next step


def test_gradient_names_lines_of_fewer_seeds(partial_results):
    note = FIGURES["gradient_preact"].draw(partial_results).legends[0].get_title().get_text()
    assert note.splitlines()[0] == (
        "Fewer seeds than runs at some steps: plain 14 (2 of 3), plain 20 (2 of 3), resnet 20 (1 of 2)"
    )


def test_heatmap_colours_zero_and_lost_unlike_any_norm(results):
    layers = results.layers.copy()
    at = (layers["network"] == "plain") & (layers["depth"] == 8) & (layers["step"] == 0)
    layers.loc[at & (layers["layer"] == 1), "grad_norm_preact"] = 0.0
    layers.loc[at & (layers["layer"] == 2), "grad_norm_preact"] = np.nan
    figure = FIGURES["heatmap_preact"].draw(results._replace(layers=layers))
    mesh = panel(figure, "plain, depth 8").collections[0]
    colours = mesh.to_rgba(mesh.get_array())[:, 0]
    assert colours[0].tolist() == [1, 1, 1, 1]
    assert mesh.get_array().mask[:, 0].tolist() == [False, True] + [False] * 6
    assert len(np.unique(colours[2:], axis=0)) == 6
    assert "White: exactly zero in a seed. Grey: not probed" in figure.get_supxlabel()


def test_heatmap_says_nothing_of_colours_that_are_not_there(drawn):
    assert drawn("heatmap_preact").get_supxlabel() == ""


def test_response_std_leaves_the_classifier_out_and_sorts(drawn):
    figure = drawn("response_std")
    colour = style.depth_colours([8, 14, 20])[8]
    lines = [
        next(x for x in panel(figure, f"plain and resnet, {order}").lines if x.get_color() == colour)
        for order in ("original", "sorted")
    ]
    original, ranked = (line.get_ydata() for line in lines)
    assert len(original) == 7
    assert list(ranked) == pytest.approx(sorted(original, reverse=True))
    assert original[0] == pytest.approx((1.1 * 1.2) ** (1 / 3) * (1.5 + np.sin(1)) / 8**0.5)
    assert "step 199" in figure.get_suptitle()


def test_networks_that_are_nobodys_twin_each_have_a_panel(results):
    third = [frame[frame["network"] == "plain"].assign(network="mine") for frame in results]
    for frame in third:
        frame["run_id"] = "mine-" + frame["run_id"]
    three = Results(*(pd.concat([a, b], ignore_index=True) for a, b in zip(results, third, strict=True)))
    assert [axes.get_title() for axes in panels(FIGURES["curves"].draw(three))] == ["plain", "resnet", "mine"]
    assert {"plain", "resnet", "mine"} <= set(legend(FIGURES["degradation"].draw(three)))


def test_networks_at_different_depths_leave_empty_panels_and_no_error(results):
    """plain at one depth joined by resnet at another: a grid with holes."""
    keep = [
        frame[
            ((frame["network"] == "plain") & (frame["depth"] == 8))
            | ((frame["network"] == "resnet") & (frame["depth"] == 14))
        ]
        for frame in results
    ]
    for name in DRAWN:
        figure = FIGURES[name].draw(Results(*keep))
        assert figure is not None, name
        figure.canvas.draw()
    empty = panel(FIGURES["heatmap_preact"].draw(Results(*keep)), "resnet, depth 8")
    assert not empty.collections
    figure = FIGURES["heatmap_preact"].draw(Results(*keep))
    named = {axes.get_title() for axes in panels(figure) if axes.get_xlabel() and axes.get_ylabel()}
    assert named == {"plain, depth 8", "resnet, depth 14"}  # each is the first of its row and the last below
