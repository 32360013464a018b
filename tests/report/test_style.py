import contextlib

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from depthbench.report import style

# Linear RGB as seen with a full lack of one cone (Machado et al. 2009, severity 1.0).
VISIONS = {
    "full": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}
TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


def linear(colour):
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(colour, vision="full"):
    """CIELAB of a colour as it is seen."""
    xyz = np.clip(np.array(TO_XYZ) @ np.array(VISIONS[vision]) @ linear(colour), 0, None)
    f = np.cbrt(xyz / np.array([0.9505, 1.0, 1.089]))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISIONS)
def test_five_depths_are_told_apart_with_any_colour_vision(vision):
    colours = [lab(c, vision) for c in style.depth_colours([20, 32, 44, 56, 110]).values()]
    distances = [np.linalg.norm(a - b) for i, a in enumerate(colours) for b in colours[:i]]
    assert min(distances) > 10  # 2.3 is the least that is seen side by side


def test_deeper_is_darker_and_no_depth_is_pale():
    lightness = [lab(c)[0] for c in style.depth_colours([8, 20, 32, 56, 110]).values()]
    assert lightness == sorted(lightness, reverse=True)
    assert lightness[0] < 75  # white is 100


def test_depth_colours_do_not_hang_on_the_order_given():
    assert style.depth_colours([56, 20, 20]) == style.depth_colours([20, 56])
    assert list(style.depth_colours([20])) == [20]


def test_networks_differ_by_more_than_colour():
    looks = style.network_looks(["plain", "resnet", "mine"])
    assert len({look["marker"] for look in looks.values()}) == 3
    assert len({look["dashes"] for look in looks.values()}) == 3


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (500, "500"), (1500, "1.5k"), (64e3, "64k"), (2e6, "2M")]
)
def test_step_counts_are_short(value, text):
    assert style.count(value) == text


@pytest.mark.parametrize(("low", "high"), [(1e-22, 1e6), (1e-3, 10), (0.02, 0.2)])
def test_a_log_axis_has_a_few_labelled_ticks_inside(low, high):
    axes = Figure().subplots()
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    style.label_log(axes)
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
    assert 3 <= len(ticks) <= 8
    assert axes.get_ylim() == (low, high)


def test_legend_is_filled_row_by_row():
    figure = Figure(layout="constrained")
    style.legend_below(figure, style.depth_handles(dict.fromkeys([1, 2, 3, 4, 5], "black")), columns=3)
    drawn = [text.get_text().removeprefix("depth ") for text in figure.legends[0].get_texts()]
    assert drawn == ["1", "4", "2", "5", "3"]  # matplotlib fills columns: 1 4 | 2 5 | 3


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    def files(folder):
        with style.styled():
            figure, panels = style.grid(1, 2, 1.5, "title")
            panels[0, 0].fill_between([0, 1], [0, 1], [1, 2])
        style.save(figure, tmp_path / folder / "name", (".svg", ".png", ".pdf"))
        return [(tmp_path / folder / f"name.{suffix}").read_bytes() for suffix in ("svg", "png", "pdf")]

    svg, png, pdf = files("one")
    assert [svg, png, pdf] == files("two")
    assert b"/Subtype /TrueType" in pdf or b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 4), (2, 9), (4, 2)])
def test_a_slide_is_16_to_9_and_no_more_crowded_than_a_page(rows, columns):
    def sizes(name):
        with style.styled(name):
            figure, panels = style.grid(rows, columns, 1.5, "title")
        grid = panels[0, 0].get_gridspec()
        width, height = figure.get_size_inches()
        return width, height, width / grid.ncols

    width, height, panel = sizes("slides")
    assert width / height == pytest.approx(16 / 9)
    assert panel >= 1.8
    assert (rows, columns) != (1, 1) or width < sizes("paper")[0]  # shown as wide, its text is larger


def test_long_texts_are_broken_where_the_canvas_ends():
    words = " ".join(["word"] * 40)
    lines = style.wrapped(words, 5.0, 9).splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) * 0.5 * 9 / 72 < 5


def test_a_legend_has_fewer_columns_where_its_entries_are_long():
    handles = style.depth_handles(dict.fromkeys([1, 2, 3, 4], "black"))
    assert style.fitting_columns(handles, 4, 7.0) == 4
    assert style.fitting_columns(handles, 4, 2.0) == 2
    assert style.fitting_columns(handles, 4, 0.1) == 1


def test_panels_that_are_too_many_for_a_row_go_on_below():
    figure, panels = style.grid(2, 5, 1.0, "title", sharey="row")
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
    style.label_left(panels[0], "percent")
    assert [axes.get_ylabel() for axes in panels[0]] == ["percent", "", "", "percent", ""]


def test_many_networks_look_each_their_own_way():
    looks = style.network_looks([f"network {i}" for i in range(40)]).values()
    assert len({(look["color"], look["marker"]) for look in looks}) == 40  # points have no dashes


def test_ticks_stand_at_the_edges_of_what_is_shown():
    """Of two rows of six panels, in two groups of three columns."""
    _, panels = style.grid(2, 6, 1, "", sharex=False, sharey=False)
    shown = np.array([[0, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 1]], bool)
    first, last = style.edges(panels, shown)
    assert first.astype(int).tolist() == [[0, 1, 0, 1, 0, 0], [1, 0, 0, 0, 0, 1]]
    assert last.astype(int).tolist() == [[0, 0, 1, 1, 1, 0], [1, 1, 0, 0, 0, 1]]


def test_powers_of_ten_are_text():
    assert [style.power_of_ten(x) for x in (1, 1e-3, 1e12)] == ["10⁰", "10⁻³", "10¹²"]


def test_fewer_moments_are_shown_where_there_is_less_room():
    with style.styled("page"):
        assert [style.most_moments(columns) for columns in (2, 9)] == [4, 2]
    with style.styled("slides"):
        assert [style.most_moments(columns) for columns in (2, 9)] == [2, 2]


def test_panels_that_are_scaled_once_have_the_scale_of_all_that_is_drawn():
    limits = []
    for once in (style.scaled_once, lambda panels: contextlib.nullcontext()):
        with style.styled():
            _, panels = style.grid(1, 2, 1.0, "a title")
            with once(panels):
                panels[0, 0].fill_between([0, 1], [0, 1], [2, 3])
                panels[0, 1].plot([5, 9], [-4, 7])
            limits.append((panels[0, 0].get_xlim(), panels[0, 0].get_ylim()))
    assert limits[0] == limits[1]
    assert limits[0][1][0] < -4
