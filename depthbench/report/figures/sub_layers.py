"""Transformers by block and sub-layer: gradient, response, share of the branch, entropy of attention."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from depthbench.analysis.sub_layers import QUANTITIES, by_sub_layer
from depthbench.report.entries import ReportFigure
from depthbench.report.evidence import Evidence
from depthbench.report.style import canvas, layout, legends, palette, tags, text, ticks

LABELS = {
    "grad_norm_weight": "norm of dL/dW",
    "response_std": "response (std)",
    "branch_share": "branch / stream",
    "attention_entropy": "entropy (nats)",
}
LOGARITHMIC = ("grad_norm_weight", "response_std")
SUB_LAYERS = ("attention", "mlp")
WHEN: dict[bool, palette.Look] = {
    True: {"dashes": (2, 1.5), "linewidth": 1.0},
    False: {"dashes": (None, None), "linewidth": palette.THIN},
}
"""Whether a line shows step 0 -> its look."""


def draw(evidence: Evidence) -> Figure | None:
    """Draw each quantity against the block, at the first and at the last probed step of the deepest runs."""
    table = by_sub_layer(evidence.blocks, evidence.runs)
    if table.empty:
        return None
    networks = layout.networks_of(evidence.runs[evidence.runs["network"].isin(table["network"])])
    deepest = {network: int(table.loc[table["network"] == network, "depth"].max()) for network in networks}
    table = table[table["depth"] == table["network"].map(deepest)]
    last = table.groupby("network")["step"].transform("max")
    first = table.groupby("network")["step"].transform("min")
    table = table[(table["step"] == first) | (table["step"] == last)]
    quantities = [name for name in QUANTITIES if name in set(table["quantity"])]
    if canvas.is_slide():
        quantities = quantities[:2]
    seeds = text.seed_count(table["n"])
    title = f"Sub-layers by block, at the first and last probed step (mean and range of {seeds})"
    figure, panels = layout.grid(len(quantities), len(networks), 1.45, title, sharex="col", sharey="row")
    colours = dict(zip(SUB_LAYERS, palette.COLOURS, strict=False))
    for row, quantity in zip(panels, quantities, strict=True):
        for axes, network in zip(row, networks, strict=True):
            if quantity in LOGARITHMIC:
                axes.set_yscale("log")
            part = table[(table["network"] == network) & (table["quantity"] == quantity)]
            for (sub_layer, step), line in part.groupby(["sub_layer", "step"], sort=False):
                colour = colours.get(str(sub_layer), palette.GREY)
                with tags.tagged(axes, deepest[network], network=network):
                    name = f"{network}, {sub_layer}, step {step:,}"
                    _draw_line(axes, line, colour, name=name, label=LABELS[quantity])
            if part.empty:
                axes.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axes.transAxes)
            tags.tag(axes, network=network)
            if quantity == quantities[0]:
                layout.set_panel_title(axes, f"{network}, depth {deepest[network]}")
            axes.xaxis.set_major_locator(ticks.FromOne(6, integer=True))
        if quantity in LOGARITHMIC:
            ticks.label_log(row[0])
        layout.label_left(row, LABELS[quantity])
    layout.label_bottom(panels[-1], "block (1 = input)")
    legends.legend_below(figure, [*_sub_layer_handles(table, colours), *_when_handles(table)])
    return figure


def _draw_line(axes: Axes, line: pd.DataFrame, colour: str, *, name: str, label: str) -> None:
    """Draw one sub-layer at one step, with the range over seeds if it is after training."""
    line = line.sort_values("block")
    is_first = bool(line["step"].iloc[0] == 0)
    marker = "o" if len(line) == 1 else ""
    (drawn,) = axes.plot(
        line["block"], line["mean"], color=colour, marker=marker, markersize=3, **WHEN[is_first]
    )
    if not is_first:
        axes.fill_between(line["block"], line["low"], line["high"], color=colour, alpha=0.13, linewidth=0)
    described = f"{name}, {text.mean_of(int(line['n'].max()))}"
    tags.describe(drawn, tags.Series(described, "block", label))


def _sub_layer_handles(table: pd.DataFrame, colours: dict[str, str]) -> list[Line2D]:
    names = {"attention": "attention", "mlp": "MLP"}
    drawn = [name for name in colours if name in set(table["sub_layer"])]
    return [Line2D([], [], color=colours[name], label=names[name]) for name in drawn]


def _when_handles(table: pd.DataFrame) -> list[Line2D]:
    labels = {True: "step 0", False: "last probed step"}
    handles = []
    for is_first in sorted({step == 0 for step in table["step"]}, reverse=True):
        look: palette.Look = {"color": palette.GREY, **WHEN[is_first]}
        handles.append(Line2D([], [], label=labels[is_first], **look))
    return handles


FIGURE = ReportFigure(
    draw,
    title="Blocks and sub-layers of transformers",
    chapter="layers",
    caption=(
        "Probes of the deepest network of each kind, block by block: the norm of the gradient of the weights "
        "(root of the sum of squares over the maps of a sub-layer), the standard deviation of what the "
        "branch adds, its ratio to that of the stream on the shortcut, and the entropy of the attention. "
        "Bands are the range over seeds. A branch with a small ratio hardly changes the stream. If the "
        "entropy is the logarithm of the number of tokens, all tokens get equal attention."
    ),
)
