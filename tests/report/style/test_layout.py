import numpy as np
import pytest

from depthbench.report.style import canvas, layout


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 4), (2, 9), (4, 2)])
def test_a_slide_is_16_to_9_and_no_more_crowded_than_a_page(rows, columns):
    def sizes(name):
        with canvas.styled(name):
            figure, panels = layout.grid(rows, columns, 1.5, "title")
        grid = panels[0, 0].get_gridspec()
        width, height = figure.get_size_inches()
        return width, height, width / grid.ncols

    width, height, panel = sizes("slides")
    assert width / height == pytest.approx(16 / 9)
    assert panel >= 1.8
    assert (rows, columns) != (1, 1) or width < sizes("paper")[0]  # shown as wide, its text is larger


def test_panels_that_exceed_a_row_continue_below():
    figure, panels = layout.grid(2, 5, 1.0, "title", sharey="row")
    places = [
        [(s.rowspan.start, s.colspan.start) for s in (a.get_subplotspec() for a in row)] for row in panels
    ]
    assert places[0] == [(0, 0), (0, 1), (0, 2), (2, 0), (2, 1)]
    assert places[1] == [(1, 0), (1, 1), (1, 2), (3, 0), (3, 1)]
    assert len(figure.axes) == 10
    panels[0, 0].set_xlim(0, 7)
    panels[0, 0].set_ylim(0, 3)
    assert panels[1, 4].get_xlim() == (0, 7)
    assert panels[0, 4].get_ylim() == (0, 3)
    assert panels[1, 4].get_ylim() != (0, 3)
    layout.label_left(panels[0], "percent")
    assert [axes.get_ylabel() for axes in panels[0]] == ["percent", "", "", "percent", ""]


def test_ticks_are_at_the_edges_of_what_is_shown():
    """There are two rows of six panels, in two groups of three columns."""
    _, panels = layout.grid(2, 6, 1, "", sharex=False, sharey=False)
    shown = np.array([[0, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 1]], bool)
    first, last = layout.outer_panels(panels, shown)
    assert first.astype(int).tolist() == [[0, 1, 0, 1, 0, 0], [1, 0, 0, 0, 0, 1]]
    assert last.astype(int).tolist() == [[0, 0, 1, 1, 1, 0], [1, 1, 0, 0, 0, 1]]


def test_a_flow_has_no_empty_panels_and_at_most_three_columns():
    figure, panels = layout.flow(7, 1.0, "title")
    assert panels.shape == (3, 3)
    assert len(figure.axes) == 7
    assert [axes is None for axes in panels.flat] == [False] * 7 + [True] * 2
    assert layout.flow(4, 1.0, "title")[1].shape == (2, 2)  # not three and one


def test_networks_with_the_same_depths_have_rows_of_their_own():
    same = [(network, depth) for network in ("plain", "resnet") for depth in (8, 20)]
    assert layout.columns_of(same) == 2
    assert layout.columns_of([*same, ("resnet", 56)]) is None
    assert layout.columns_of([(network, depth) for network in "ab" for depth in range(6)]) == 3


def labelled(panels):
    """The columns of a row of panels that have x tick labels."""
    return [i for i, axes in enumerate(panels) if axes.xaxis.get_tick_params().get("labelbottom", True)]


def test_a_row_that_continues_below_is_labelled_where_nothing_is_below():
    _, panels = layout.grid(1, 7, 1.0, "title")
    assert labelled(panels[0]) == [4, 5, 6]
    layout.label_bottom(panels[0], "step")
    assert [axes.get_xlabel() for axes in panels[0]] == [""] * 4 + ["step"] * 3
    _, last = layout.outer_panels(panels, np.ones((1, 7), bool))
    assert np.flatnonzero(last).tolist() == [4, 5, 6]
    _, two_rows = layout.grid(2, 7, 1.0, "title")  # each group of three columns has its own
    assert [labelled(row) for row in two_rows] == [[], list(range(7))]
    _, own_scales = layout.grid(1, 7, 1.0, "title", sharex=False)
    assert labelled(own_scales[0]) == list(range(7))


def test_titles_of_a_slide_are_on_one_line():
    long = "Gradient of the pre-activations by layer (geometric mean and range of 3 seeds) of all networks"
    for style, lines in (("page", 2), ("slides", 1)):
        with canvas.styled(style):
            figure, panels = layout.grid(1, 3, 1.0, long)
            layout.set_panel_title(panels[0, 0], "norm-after-addition, depth 110, step 0")
            figure.draw_without_rendering()
        assert figure.get_suptitle().count("\n") + 1 == lines
        assert panels[0, 0].get_title().count("\n") + 1 == lines
    assert figure.get_tightbbox().x1 <= figure.get_figwidth()
