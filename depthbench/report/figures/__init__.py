"""FIGURES: the figures of a report, in page order. COMPARISON_FIGURES: the figures of a comparison."""

from depthbench.registry import Entry

FIGURES: dict[str, Entry] = {
    "frontier": Entry("depthbench.report.figures.frontier:FIGURE"),
    "sweep": Entry("depthbench.report.figures.sweep:FIGURE"),
    "degradation": Entry("depthbench.report.figures.degradation:FIGURE"),
    "losses": Entry("depthbench.report.figures.losses:FIGURE"),
    "sweep_movement": Entry("depthbench.report.figures.sweep:MOVEMENT"),
    "deviations": Entry("depthbench.report.figures.deviations:FIGURE"),
    "curves": Entry("depthbench.report.figures.curves:FIGURE"),
    "reach": Entry("depthbench.report.figures.reach:FIGURE"),
    "paper_errors": Entry("depthbench.report.figures.paper_errors:FIGURE"),
    "choice": Entry("depthbench.report.figures.choice:FIGURE"),
    "confusion": Entry("depthbench.report.figures.confusion:FIGURE"),
    "robustness": Entry("depthbench.report.figures.robustness:FIGURE"),
    "gradient_preact": Entry("depthbench.report.figures.gradient_by_layer:PREACTIVATIONS"),
    "gradient_weight": Entry("depthbench.report.figures.gradient_by_layer:WEIGHTS"),
    "first_steps": Entry("depthbench.report.figures.first_steps:FIGURE"),
    "heatmap_preact": Entry("depthbench.report.figures.gradient_heatmap:PREACTIVATIONS"),
    "heatmap_weight": Entry("depthbench.report.figures.gradient_heatmap:WEIGHTS"),
    "response_std": Entry("depthbench.report.figures.response_std:FIGURE"),
    "sub_layers": Entry("depthbench.report.figures.sub_layers:FIGURE"),
    "coordinates": Entry("depthbench.report.figures.coordinates:FIGURE"),
}

COMPARISON_FIGURES: dict[str, Entry] = {
    "compare_differences": Entry("depthbench.report.figures.compare_differences:FIGURE"),
    "compare_errors": Entry("depthbench.report.figures.compare_errors:FIGURE"),
    "compare_curves": Entry("depthbench.report.figures.compare_curves:FIGURE"),
    "compare_gradient_preact": Entry("depthbench.report.figures.compare_gradients:PREACTIVATIONS"),
    "compare_gradient_weight": Entry("depthbench.report.figures.compare_gradients:WEIGHTS"),
}
