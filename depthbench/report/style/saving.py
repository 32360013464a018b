"""Write a figure to files, with the same bytes for the same figure."""

from collections.abc import Iterable
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from depthbench.files import atomic
from depthbench.report.style.canvas import RC, current_canvas


def save(figure: Figure, path: Path, suffixes: Iterable[str]) -> None:
    """Write `figure` as PATH with each of `suffixes`, and rewrite its files in other formats if they exist.

    The figure is laid out once, and the canvas of each format prints it. `savefig` would draw it twice per
    file, because the first drawing is for the layout."""
    figure.set_dpi(current_canvas().dpi)
    with matplotlib.rc_context({**RC, "svg.hashsalt": path.name}):
        _skip_empty_labels(figure)
        if (layout := figure.get_layout_engine()) is not None:
            layout.execute(figure)
            figure.set_layout_engine("none")
        for suffix, write in PRINTERS.items():
            file = path.with_suffix(suffix)
            if suffix in suffixes or file.exists():
                with atomic(file) as temporary:
                    write(figure, temporary)


def _skip_empty_labels(figure: Figure) -> None:
    """Leave axes without a label or tick labels out of the layout.

    In a figure with many panels, most axes have neither, and matplotlib would measure all of their ticks
    several times."""
    for axes in figure.axes:
        for axis, side in ((axes.xaxis, "bottom"), (axes.yaxis, "left")):
            if not axis.get_label_text():
                axis.set_label_coords(0, 0)
                axis.set_in_layout(axis.get_tick_params().get(f"label{side}", True))


def _png(figure: Figure, file: Path) -> None:
    FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})


def _svg(figure: Figure, file: Path) -> None:
    unset = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(file, metadata=unset)


def _pdf(figure: Figure, file: Path) -> None:
    from matplotlib.backends.backend_pdf import FigureCanvasPdf  # slow to import, as it needs fontTools

    unset = dict.fromkeys(("CreationDate", "Creator", "Producer"))
    FigureCanvasPdf(figure).print_pdf(file, metadata=unset)


PRINTERS = {".png": _png, ".svg": _svg, ".pdf": _pdf}
