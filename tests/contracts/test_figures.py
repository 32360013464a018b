"""Contract of every figure of a report and of a comparison."""

import importlib
import pkgutil
import re
from functools import cache

import numpy as np
import pytest
from matplotlib.colors import to_rgba_array

from depthbench.report import figures, svg
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Comparison
from depthbench.report.figures import COMPARISON_FIGURES, FIGURES
from depthbench.report.style import canvas, palette, points, saving, tags
from depthbench.store.results import Results
from tests.report.conftest import evidence_of
from tests.report.looking import described_points, legend, line_colours, panels, stays_on_paper

EVERY = {**FIGURES, **COMPARISON_FIGURES}
PER_PROBE = [name for name in EVERY if re.search("gradient|heatmap|first_steps|response_std", name)]
OTHER_EVIDENCE = {  # than `Results` of plain and residual networks
    "confusion",
    "robustness",
    "coordinates",
    "losses",
    "deviations",
    "sub_layers",
    "sweep",
    "sweep_movement",
}
PER_DEPTH = ("curves", "gradient_preact", "gradient_weight", "response_std")
each_figure = pytest.mark.parametrize("name", EVERY)


@pytest.fixture(scope="module")
def drawn(evidence_by_name):
    """Return a function of (figure, study) that draws the figure once, because tests only look at it.

    The complete study is not laid out, which takes most of the time: its tests look at scales and colours."""

    @cache
    def draw(name, study):
        single, compared = evidence_by_name[study]
        figure = EVERY[name].load().draw(compared if name in COMPARISON_FIGURES else single)
        if figure is not None and study != "complete":
            figure.draw_without_rendering()
        return figure

    return draw


def test_every_figure_of_the_package_is_in_a_list():
    modules = pkgutil.iter_modules(figures.__path__, f"{figures.__name__}.")
    defined = {
        id(value)
        for module in modules
        for value in vars(importlib.import_module(module.name)).values()
        if isinstance(value, ReportFigure)
    }
    assert defined == {id(entry.load()) for entry in EVERY.values()}


@each_figure
def test_documents_itself(name):
    figure = EVERY[name].load()
    assert isinstance(figure, ReportFigure)
    assert figure.title
    assert figure.title[0].isupper()
    assert figure.caption.endswith(".")
    assert not figure.needs.endswith(".")  # it completes a sentence


@pytest.mark.parametrize("entries", [FIGURES, COMPARISON_FIGURES])
def test_figures_with_the_same_title_have_different_choices(entries):
    names = [(figure.title, figure.choice) for figure in (entry.load() for entry in entries.values())]
    assert len(set(names)) == len(names)


@each_figure
def test_has_a_title_units_and_legible_text(drawn, name):
    figure = drawn(name, "unfinished")
    assert figure.get_suptitle()
    assert figure.get_size_inches()[0] == canvas.CANVASES["paper"].width
    texts = [text for text in figure.findobj(lambda a: hasattr(a, "get_fontsize")) if text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 7
    labels = " ".join(axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes)
    units = (
        r"\(%\)|\(1 = input\)|layer / depth|block / all blocks|updates made|percentage points|weighted layers"
    )
    assert re.search(units, labels)


@each_figure
def test_stays_on_its_paper_and_legends_cover_no_panel(drawn, name):
    figure = drawn(name, "unfinished")
    assert stays_on_paper(figure)
    legends = [box.get_window_extent() for box in figure.legends]
    for axes in figure.axes:
        assert not any(box.overlaps(axes.get_tightbbox()) for box in legends)


@pytest.mark.parametrize("name", ["choice", "paper_errors", "heatmap_preact"])
def test_nothing_of_a_slide_is_cut_off(unfinished, name):
    figure = FIGURES[name].load().draw(unfinished, style="slides")
    figure.draw_without_rendering()
    assert stays_on_paper(figure)
    widths = [box.get_window_extent().width / figure.dpi for box in figure.legends]
    assert max(widths, default=0) <= figure.get_figwidth()


@each_figure
@pytest.mark.parametrize("study", ["unfinished", "single"])
def test_every_point_and_line_is_described(drawn, name, study):
    figure = drawn(name, study)
    series = points.collect(figure)
    tagged = [line for axes in panels(figure) for line in axes.lines if line.get_gid()]
    curves = [line for line in tagged if len(line.get_xdata()) > 1 and line.get_linestyle() != "None"]
    assert sum(len(described_points(each)) for each in series) >= max(1, len(curves))
    long = [x for x in curves if len(x.get_xdata()) > 2 and x.get_color() != palette.BACKGROUND]
    assert all(hasattr(line, tags.SERIES) for line in long)  # shorter ones may connect described points
    for each in series:
        assert each["name"]
        assert each["y"]
        assert described_points(each)


@each_figure
def test_every_described_point_is_marked_with_its_network_or_depth(drawn, name):
    assert all(each["id"].startswith(svg.MARK) for each in points.collect(drawn(name, "unfinished")))


@each_figure
def test_no_part_is_pure_black_or_white(drawn, name):
    """The dark page replaces ink and paper, which differ from these."""
    figure = drawn(name, "unfinished")
    fixed = {(0.0, 0.0, 0.0), (1.0, 1.0, 1.0)}
    for artist in figure.findobj(lambda artist: artist.get_visible() and artist is not figure):
        for key in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            getter = getattr(artist, f"get_{key}", None)
            value = None if getter is None else getter()
            if key == "edgecolor" and not np.any(getattr(artist, "get_linewidth", lambda: 1)()):
                continue
            if value is None or (isinstance(value, str) and value in ("none", "auto")):
                continue
            for colour in to_rgba_array(value):
                assert colour[3] == 0 or tuple(colour[:3]) not in fixed, (type(artist).__name__, key)


@each_figure
def test_shows_one_network_with_one_seed(drawn, name):
    figure = drawn(name, "single")
    assert stays_on_paper(figure)
    assert not any("plain" in axes.get_title() for axes in panels(figure))


@each_figure
def test_without_data_there_is_nothing_to_show(drawn, name):
    assert drawn(name, "empty") is None


@each_figure
def test_the_same_results_give_the_same_file(evidence_by_name, name, tmp_path):
    single, compared = evidence_by_name["single"]
    files = []
    for folder in ("one", "two"):
        figure = EVERY[name].load().draw(compared if name in COMPARISON_FIGURES else single)
        figure.set_layout_engine("none")  # takes most of the time
        with canvas.styled():
            saving.save(figure, tmp_path / folder / name, (".svg",))
        files.append((tmp_path / folder / f"{name}.svg").read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize(
    "name", sorted(set(FIGURES) - {"frontier", "confusion", "robustness", "sweep_movement"})
)
def test_all_panels_of_an_error_or_norm_share_one_scale(drawn, name):
    shown = panels(drawn(name, "complete"))
    assert len(shown) >= 2
    if name.startswith("heatmap"):
        norms = [axes.collections[0].norm for axes in shown]
        assert len({(norm.vmin, norm.vmax) for norm in norms}) == 1
    elif name in ("first_steps", "coordinates"):  # one row per quantity
        for row in (shown[:2], shown[2:]):
            assert len({axes.get_ylim() for axes in row}) == 1
    else:
        assert len({axes.get_ylim() for axes in shown}) == 1


@pytest.mark.parametrize("name", PER_DEPTH)
def test_a_depth_has_the_same_colour_in_every_panel_and_figure(drawn, name):
    expected = palette.depth_colours([8, 14, 20])
    figure = drawn(name, "complete")
    for axes in panels(figure):
        assert line_colours(axes) == set(expected.values())
    for depth, colour in expected.items():
        assert legend(figure)[f"depth {depth}"].get_color() == colour


@pytest.mark.parametrize("name", PER_PROBE)
def test_a_probe_that_was_not_selected_shows_nothing(complete, name):
    columns = ["grad_norm_weight", "grad_norm_preact", "response_std"]
    evidence = evidence_of(complete.results._replace(layers=complete.layers.drop(columns=columns)))
    compared = Comparison({"a": evidence, "b": evidence})
    assert EVERY[name].load().draw(compared if name in COMPARISON_FIGURES else evidence) is None


@pytest.mark.parametrize("name", sorted(set(FIGURES) - OTHER_EVIDENCE))
def test_networks_at_different_depths_leave_empty_panels_and_no_error(complete, name):
    """plain has one depth and resnet another, so the grid has holes."""
    keep = [
        frame[
            ((frame["network"] == "plain") & (frame["depth"] == 8))
            | ((frame["network"] == "resnet") & (frame["depth"] == 14))
        ]
        for frame in complete.results
    ]
    figure = FIGURES[name].load().draw(evidence_of(Results(*keep)))
    assert figure is not None
    figure.draw_without_rendering()
    if name == "heatmap_preact":
        (hole,) = (axes for axes in panels(figure) if axes.get_title() == "resnet, depth 8")
        assert not hole.collections
        labelled = {axes.get_title() for axes in panels(figure) if axes.get_xlabel() and axes.get_ylabel()}
        assert labelled == {"plain, depth 8", "resnet, depth 14"}  # each starts its row and ends its column


@pytest.mark.parametrize("name", COMPARISON_FIGURES)
def test_a_comparison_names_every_study_that_it_shows(drawn, name):
    texts = {text.get_text() for text in drawn(name, "unfinished").findobj(lambda a: hasattr(a, "get_text"))}
    assert "unfinished" in texts
    assert "baseline" in texts or name == "compare_differences"


def test_a_norm_that_is_not_finite_is_marked(complete):
    """A log axis cannot show it, even if one layer was probed only once."""
    layers = complete.layers.assign(grad_norm_preact=np.inf)
    figure = FIGURES["gradient_preact"].load().draw(evidence_of(complete.results._replace(layers=layers)))
    assert "infinite in a seed" in legend(figure)
