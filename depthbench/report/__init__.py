"""FIGURES: every figure of a report, at a glance; `write_report` draws them and writes the page.

A figure is a function from `Results` to a matplotlib Figure, or to None where there is nothing to show.
Its entry says what it is called, how it is read, and what it needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from depthbench.errors import BadInput
from depthbench.registry import Entry

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from depthbench.store.results import Results


@dataclass(frozen=True)
class FigureEntry(Entry):
    """One figure: `about` is how to read it; `needs` is what is missing where there is nothing to show, and
    where it is empty nothing is said. Of figures of one title one is shown at a time, by `choice`. `table`
    names the one that it is drawn from beside `Results`, of those that only some runs have."""

    title: str = ""
    needs: str = ""
    choice: str = ""
    table: str = ""

    def draw(self, results: "Results", *tables: "pd.DataFrame", style: str = "page") -> "Figure | None":
        """The figure, in a style of the report. `tables`: the one that `table` names, if it does."""
        from depthbench.report.style import styled

        with styled(style):
            return self(results, *tables)


SUFFIXES = (".svg", ".png", ".pdf")


class Style(NamedTuple):
    """Where a report is written, and its figures as what. To embed fonts in PDFs takes seconds."""

    folder: str
    suffixes: tuple[str, ...]


STYLES = {
    "page": Style("report", SUFFIXES[:2]),
    "paper": Style("report", SUFFIXES),
    "slides": Style("report-slides", SUFFIXES),
}

FIGURES: dict[str, FigureEntry] = {
    "degradation": FigureEntry(
        "depthbench.report.figures.degradation:draw",
        "Where the train error rises with depth, depth itself makes the network harder to train: that is "
        "degradation, and not overfitting, which would raise the test error alone. Each point is the last "
        "error of one seed, the line or stroke is their mean, the bar its 95% t interval.",
        title="Degradation",
        needs="a finished run",
    ),
    "curves": FigureEntry(
        "depthbench.report.figures.curves:draw",
        "Bold: test error. Thin dashed: train error, measured on the fly (in training mode, on images as "
        "augmented), as in He et al. 2015, Figures 1 and 6. Each line is the mean over seeds, the band of "
        "the test error its range. All panels share one scale; the first fifth of training may lie above it.",
        title="Training curves",
        needs="a run with an evaluated step",
    ),
    "paper_errors": FigureEntry(
        "depthbench.report.figures.paper_errors:draw",
        "To be held beside He et al. 2015, Figure 6: its axes, and its lines. Bold: test error. Thin dashed: "
        "train error, measured on the fly. A network whose test error stays above 20 % is named below and is "
        "not shown, as in the paper. Markers at the right edge, where the data set is the paper's, are the "
        "paper's last errors.",
        title="Training curves, as in the paper",
        needs="a plain or resnet of CIFAR depths, as the paper builds it, whose test error comes below 20 %",
    ),
    "choice": FigureEntry(
        "depthbench.report.figures.choice:draw",
        "For choosing a depth: the further down and left, the better. The number at a point is its depth; "
        "one that found no room is in the table. Nothing else is both cheaper and better than a point on "
        "the grey line, where times and memory within 5 % of each other are equal. The recommended point, "
        "ringed, takes the fewest multiply-adds of all whose mean validation error is within one standard "
        "error of the best; none is by the test error, or where the best is at chance.",
        title="Error against cost",
        needs="two networks or depths with finished runs",
    ),
    "confusion": FigureEntry(
        "depthbench.report.figures.confusion:draw",
        "Of the least and the greatest depth of each network. A row is the images of one class, over all "
        "seeds; its cells say what percent of them the trained network calls by each name, in numbers from "
        "half a percent on where there is room. What is off the diagonal is wrong. The colour scale, one "
        "for all panels, is the square root's, so that rare mistakes show. A diverged run calls nothing by "
        "a name, and is not here.",
        title="Which classes are taken for which",
        table="predictions",
        needs="a finished run with stored predictions, of at most 12 classes",
    ),
    "robustness": FigureEntry(
        "depthbench.report.figures.robustness:draw",
        "Test images are corrupted, the same way for every run, and the trained network is asked again. At "
        "the left edge is the error on clean images: a line that rises less steeply is more robust. Twins "
        "share a row, the plain one dashed. The band is the range over seeds; a diverged run is at chance.",
        title="Errors on corrupted images",
        table="robustness",
    ),
    "frontier": FigureEntry(
        "depthbench.report.figures.frontier:draw",
        "Each line is a seed, from the greatest depth that trains to the least above it that does not: the "
        "frontier lies between them. The bar is the median over seeds, of two in the middle the lower. A "
        "hollow mark is the depth that theory of wide networks at initialisation expects, where it predicts "
        "a rate, or at the edge with its number where that lies beyond: training may mend what it sees.",
        title="How deep networks train",
    ),
    "gradient_preact": FigureEntry(
        "depthbench.report.figures.gradient_by_layer:draw",
        "A line that climbs towards the input is an exploding gradient, one that falls a vanishing one; the "
        "steeper, the stronger. This norm, of the loss by each layer's output before normalisation, shows "
        "both; the weight gradient can hide them. Where theory says what to expect at initialisation, it is "
        "drawn over step 0, as its legend says.",
        {"column": "grad_norm_preact"},
        title="Gradient by layer",
        choice="pre-activations",
        needs="the probe grad_norm_preact",
    ),
    "gradient_weight": FigureEntry(
        "depthbench.report.figures.gradient_by_layer:draw",
        "How strongly the loss pulls at each layer's weights. It can be even over the layers while the "
        "gradient vanishes, because the size of the activations makes up for it.",
        {"column": "grad_norm_weight"},
        title="Gradient by layer",
        choice="weights",
        needs="the probe grad_norm_weight",
    ),
    "first_steps": FigureEntry(
        "depthbench.report.figures.first_steps:draw",
        "How degradation begins; step 0 is initialisation. In a deep plain network with batch normalisation "
        "the early layers have by far the greatest gradient there (top). The first updates blow their "
        "weights up (bottom), and from then on their gradient is tiny: normalised, a layer learns at a rate "
        "that falls with the square of its weight norm. Where the lines lie close together from the start, "
        "as in most residual networks, none of this happens. Steps are evenly spaced, as probed.",
        title="The first steps",
        needs="the probes grad_norm_preact and weight_norm at two or more of the steps 0 to 100",
    ),
    "heatmap_preact": FigureEntry(
        "depthbench.report.figures.gradient_heatmap:draw",
        "Each row of cells is a layer, each column a probed step: when the early layers lose or regain "
        "their gradient. All panels share one colour scale.",
        {"column": "grad_norm_preact"},
        title="Gradient by layer and step",
        choice="pre-activations",
        needs="the probe grad_norm_preact",
    ),
    "heatmap_weight": FigureEntry(
        "depthbench.report.figures.gradient_heatmap:draw",
        "As above, for the gradient of the weights: each row of cells is a layer, each column a probed step.",
        {"column": "grad_norm_weight"},
        title="Gradient by layer and step",
        choice="weights",
        needs="the probe grad_norm_weight",
    ),
    "response_std": FigureEntry(
        "depthbench.report.figures.response_std:draw",
        "Top: in the order of the layers; bottom: the same values from the greatest down, as in He et al. "
        "2015, Figure 7. Twins share a panel, the plain one dashed. The lower a line, the less each layer "
        "changes what it is given. The classifier is left out.",
        title="Standard deviation of the layer responses",
        needs="the probe response_std",
    ),
}

COMPARISONS: dict[str, FigureEntry] = {  # of the tables of several studies: analysis.comparison.together
    "compare_differences": FigureEntry(
        "depthbench.report.figures.compare_differences:draw",
        "Right of zero the study has the higher error. A stroke is a seed, the mark their mean, the bar its "
        "95% t interval, not corrected for how many rows there are: the table says, corrected, which errors "
        "are told apart.",
        title="Differences, seed by seed",
        needs="a network and depth with finished runs of one seed in two studies",
    ),
    "compare_errors": FigureEntry(
        "depthbench.report.figures.compare_errors:draw",
        "Each point is the last error of one seed, the line is their mean, the bar its 95% t interval.",
        title="Errors against depth",
        needs="a finished run",
    ),
    "compare_curves": FigureEntry(
        "depthbench.report.figures.compare_curves:draw",
        "Bold: test error. Thin dashed: train error, measured on the fly. Each line is the mean over seeds, "
        "the band of the test error its range. All panels share one scale; the first fifth of training may "
        "lie above it.",
        title="Training curves",
        needs="a run with an evaluated step",
    ),
    "compare_gradient_preact": FigureEntry(
        "depthbench.report.figures.compare_gradients:draw",
        "The gradient of the loss by each layer's output before normalisation, dotted at initialisation and "
        "bold at the last step that all studies probed. Studies that build and begin alike agree at "
        "initialisation.",
        {"column": "grad_norm_preact"},
        title="Gradient by layer",
        choice="pre-activations",
        needs="the probe grad_norm_preact, at a step that all studies probed",
    ),
    "compare_gradient_weight": FigureEntry(
        "depthbench.report.figures.compare_gradients:draw",
        "As above, for the gradient of the weights.",
        {"column": "grad_norm_weight"},
        title="Gradient by layer",
        choice="weights",
        needs="the probe grad_norm_weight, at a step that all studies probed",
    ),
}


def write_report(
    paths: str | Path | Sequence[str | Path], out: str | Path | None = None, style: str = "page"
) -> Path:
    """Write the report of one study's results, or of each of several, in order.

    `paths` is a results directory or a list of them. A report is RESULTS/report/ (or `out`, allowed with one
    directory): index.html, one file that opens offline; figures/NAME.svg and .png; tables/NAME.csv, .md and
    .tex. `style` `paper` writes the figures as PDF too; `slides` does as well, and makes them 16:9 with
    larger text and lines, in RESULTS/report-slides/. Errors are in percent. Returns the path of index.html,
    of the last directory's where there are several. An older report is replaced, file by file.

    Raises BadInput where a directory holds no results, or no run has any data yet, for a style that there is
    not, and for `out` with more than one directory."""
    from depthbench.report.page import write_page

    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    if not paths:
        raise BadInput("no results directory was given: name at least one")
    if out is not None and len(paths) > 1:
        raise BadInput(f"out = {out} holds one report, and {len(paths)} directories were given: leave it out")
    if style not in STYLES:
        raise BadInput(f"--style {style}: there are {', '.join(STYLES)}")
    pages = [write_page(Path(path), Path(out or Path(path) / STYLES[style].folder), style) for path in paths]
    return pages[-1]
