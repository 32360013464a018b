import itertools

import numpy as np
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from depthbench.report.figures.labels import Label, label_points
from depthbench.report.style.canvas import RC, styled


def test_labels_of_neighbouring_points_do_not_touch():
    """Points in the middle of a panel, as close as runs of nearly the same peak memory."""
    rng = np.random.default_rng(0)
    width, height = TextPath((0, 0), "110", RC["xtick.labelsize"]).get_extents().size
    for _ in range(20):
        with styled("page"):
            axes = Figure(figsize=(4, 3)).subplots()
            labels = [
                Label(*place, "110", "#000000", 110, "plain", 3.5) for place in rng.uniform(0.4, 0.6, (8, 2))
            ]
            label_points(axes, labels, [])
        scale = 72 / axes.figure.dpi
        middles = [axes.transData.transform(text.xy) * scale + text.xyann for text in axes.texts]
        assert len(middles) >= 6
        for one, other in itertools.combinations(middles, 2):
            across, up = np.abs(one - other)
            assert across >= width or up >= height + 2  # points
