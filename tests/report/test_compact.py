import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from depthbench.report.compact import compact, short_path
from depthbench.report.style import saving


def positions(path: str) -> list[tuple[float, float]]:
    """The end of each line of a path as `short_path` writes it."""
    x = y = 0.0
    found = []
    for command, text in re.findall(r"([Mlhv])([^Mlhvz]*)", path):
        numbers = [float(number) for number in re.findall(r"-?(?:\d+\.?\d*|\.\d+)", text)]
        size = 1 if command in "hv" else 2
        for move in np.reshape(numbers, (-1, size)):
            if command == "M":
                x, y = move
            elif command == "l":
                x, y = x + move[0], y + move[1]
            elif command == "h":
                x += move[0]
            else:
                y += move[0]
            found.append((x, y))
    return found


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("M 0 471.6 \nL 504 471.6 \nL 504 0 \nz\n", "M0 471.6h504v-471.6z"),
        ("M 1 1 L 1.5 0.75 L 2.5 0.25 L 3 -1", "M1 1l.5-.25 1-.5 .5-1.25"),
        ("M 0 3 \nC 0.8 3 1.5 2.7 2.1 2.1", "M0 3c.8 0 1.5-.3 2.1-.9"),
        ("M 1 1 L 2 2 z M 5 5 L 6 6", "M1 1l1 1zM5 5l1 1"),
    ],
)
def test_positions_are_relative_and_rounded(path, short):
    assert short_path(path) == short


coordinates = st.floats(-1e3, 1e3)


@given(st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=50))
def test_rounding_errors_do_not_add_up(points):
    path = " \n".join(f"{'L' if i else 'M'} {x:.6f} {y:.6f}" for i, (x, y) in enumerate(points))
    assert np.allclose(positions(short_path(path)), points, rtol=0, atol=0.0051)


def test_shared_styles_become_classes_and_groups_without_attributes_go():
    svg = (
        "<svg><style>*{a: b}</style><g>\n <g class='x'>"
        '<path d="M 0 0" style="fill: red; stroke: blue"/><path d="M 1 1" style="fill: red; stroke: blue"/>'
        '<path d="M 2 2" style="fill: green"/></g></g><text x="0.123">a\nb</text></svg>'
    )
    assert compact(svg) == (
        "<svg><style>.s0{fill:red;stroke:blue}*{a: b}</style><g class='x'>"
        '<path d="M0 0" class="s0"/><path d="M1 1" class="s0"/>'
        '<path d="M2 2" style="fill: green"/></g><text x=".12">a\nb</text></svg>'
    )


def test_a_drawn_figure_is_less_than_half_as_long_and_keeps_its_texts(tmp_path):
    figure = Figure()
    axes = figure.subplots()
    axes.plot(np.random.default_rng(0).random(200))
    axes.set_title("title")
    saving.save(figure, tmp_path / "x", (".svg",))
    svg = (tmp_path / "x.svg").read_text(encoding="utf-8")
    short = compact(svg)
    assert len(short) < len(svg) / 2
    assert re.findall(r">([^<>\s]+)</text>", short) == re.findall(r">([^<>\s]+)</text>", svg)
    assert short.count("<g") == short.count("</g>")
