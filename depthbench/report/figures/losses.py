"""Final losses of next-token prediction against depth, in bits."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from depthbench.analysis.losses import LOSSES, bits
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.figures.degradation import depth_axis, draw_mean
from depthbench.report.style import canvas, layout, legends, palette, tags, text


def draw(evidence: Evidence) -> Figure | None:
    """Draw the loss of every seed, and a line through the means of each network: one panel for each set."""
    losses, runs = evidence.losses, evidence.runs
    if losses.empty:
        return None
    units = sorted(set(losses["predicts"]))
    unit = units[0].removeprefix("next ").removesuffix("s") if len(units) == 1 else "token"
    networks = layout.networks_of(losses)
    looks = palette.network_looks(layout.networks_of(runs))
    title = f"Final loss against depth (each seed and the mean of {text.seed_count(losses['n'])})"
    figure, panels = layout.grid(1, len(LOSSES), 2.6, title)
    for axes, (column, name) in zip(panels[0], LOSSES.items(), strict=True):
        depth_axis(axes, sorted(losses["depth"].unique()))
        for network in networks:
            _draw_network(axes, evidence, network, column=column, name=name, look=looks[network])
        axes.set_title(f"{name} loss")
        axes.set_xlabel(text.depth_label(runs["family"]))
    panels[0, 0].set_ylabel(f"loss (bits per {unit})")
    legends.legend_below(figure, legends.network_handles({name: looks[name] for name in networks}), 3)
    return figure


def _draw_network(
    axes: Axes, evidence: Evidence, network: str, *, column: str, name: str, look: palette.Look
) -> None:
    losses, runs = evidence.losses, evidence.runs
    means = losses[(losses["network"] == network) & (losses["set"] == name)]
    in_bits = {f"{column}_{key}": bits(means[key].astype(float)) for key in ("mean", "low", "high")}
    draw_mean(axes, means[["depth"]].assign(**in_bits), column, look=look, network=network)
    done = runs[(runs["network"] == network) & (runs["status"] == "done") & runs[column].notna()]
    for depth, group in layout.by_depth(done):
        with tags.tagged(axes, depth, network=network):
            (drawn,) = axes.plot(
                group["depth"],
                bits(group[column].astype(float)),
                color=look["color"],
                marker=look["marker"],
                markersize=4,
                markeredgecolor=canvas.PAPER,
                markeredgewidth=0.4,
                alpha=0.75,
                linestyle="",
            )
            shown, seeds = f"{network}, depth {depth}", group["seed"].tolist()
            tags.describe(drawn, tags.Series(shown, "seed", f"{name} loss", "bits", xs=seeds))


FIGURE = ReportFigure(
    draw,
    title="Losses",
    caption=(
        "Mean cross entropy of the next token against depth, at the last evaluation. Each point is one seed, "
        "and the line connects the means. Lower is better. A train loss that rises with depth is a sign of "
        "degradation. Diverged runs have no loss and are left out."
    ),
)
