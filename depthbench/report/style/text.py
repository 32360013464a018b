"""Text in figures: line breaks, counts of seeds and short numbers."""

import re
import textwrap
from collections.abc import Collection, Iterable

import numpy as np

from depthbench.errors import any_of
from depthbench.networks import NETWORKS, Family
from depthbench.report.style.canvas import RC

CHARACTER = 0.58  # approximate width of a character, relative to the font size
TITLE_SIZE = 9  # pt
NOTE_SIZE = 7  # pt
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def wrapped(text: str, width: float, size: float, hyphens: bool = False) -> str:
    """Break `text` of `size` points into lines of at most `width` inches; also after hyphens if `hyphens`."""
    characters = int(0.97 * width * 72 / (CHARACTER * size))
    return "\n".join(textwrap.fill(line, characters, break_on_hyphens=hyphens) for line in text.splitlines())


def fitting_size(text: str, width: float, size: float, least: float = 6.0) -> float:
    """Return the font size, at most `size` and at least `least` points, at which `text` fits on a line."""
    return max(least, min(size, 0.97 * width * 72 / (CHARACTER * max(len(text), 1))))


def panel_title(title: str, width: float) -> str:
    """Break `title` into lines that fit above a panel of `width` inches."""
    unbroken = re.sub(r"(depth|step) (?=\d)", "\\1\N{NO-BREAK SPACE}", title)
    lines = wrapped(unbroken, width, RC["axes.titlesize"], hyphens=True)
    return lines.replace("\N{NO-BREAK SPACE}", " ")


def seed_count(counts: Iterable[int]) -> str:
    """Describe the number of seeds behind a mean: `3 seeds`, or `1 to 3 seeds` if it differs."""
    distinct = sorted({int(n) for n in counts})
    if len(distinct) > 1:
        return f"{distinct[0]} to {distinct[-1]} seeds"
    return "1 seed" if distinct == [1] else f"{distinct[0]} seeds"


def depth_label(families: Iterable[str]) -> str:
    """Return the label of an axis of depths of these families of NETWORKS, with what their depth counts."""
    known = (NETWORKS.get(family) for family in families)
    units = sorted({Family.depth_unit if family is None else family.depth_unit for family in known})
    return f"depth ({any_of(reversed(units)) if units else Family.depth_unit})"


def error_label(predicts: Collection[str]) -> str:
    """Return the label of an axis of errors. predicts: `evidence.Evidence.predicts`."""
    return f"error (% of {any_of(predicts)})" if predicts else "error (%)"


def mean_of(n: int) -> str:
    """Name the statistic of a mean: `mean of 3 seeds`, or `1 seed`."""
    return f"mean of {n} seeds" if n > 1 else "1 seed"


def short_count(value: float) -> str:
    """Shorten a step count for an axis: 1500 becomes 1.5k."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def power_of_ten(value: float) -> str:
    """Write 0.001 as 10⁻³ in plain text, which draws faster than a formula and can be searched."""
    return "10" + str(round(np.log10(value))).translate(SUPERSCRIPTS)
