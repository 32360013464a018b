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
