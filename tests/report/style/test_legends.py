from matplotlib.figure import Figure

from depthbench.report.style import legends


def test_legend_is_filled_row_by_row():
    figure = Figure(layout="constrained")
    legends.legend_below(figure, legends.depth_handles(dict.fromkeys([1, 2, 3, 4, 5], "black")), columns=3)
    drawn = [text.get_text().removeprefix("depth ") for text in figure.legends[0].get_texts()]
    assert drawn == ["1", "4", "2", "5", "3"]  # matplotlib fills columns: 1 4 | 2 5 | 3


def test_a_legend_has_fewer_columns_where_its_entries_are_long():
    handles = legends.depth_handles(dict.fromkeys([1, 2, 3, 4], "black"))
    assert legends.fitting_columns(handles, 4, 7.0) == 4
    assert legends.fitting_columns(handles, 4, 2.0) == 2
    assert legends.fitting_columns(handles, 4, 0.1) == 1
