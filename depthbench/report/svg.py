"""Turn an SVG file into markup for an HTML page with several figures."""

import re
from collections.abc import Callable, Iterable
from urllib.parse import quote

from depthbench.report.compact import compact

MARK = "shows:"  # start of an id that becomes classes
AXIS = "axis"  # id of an axis that stays visible when its panel is hidden


def mark(depths: Iterable[int] = (), network: str = "") -> str:
    """Return the id of a part of a figure that shows these depths and this network.

    `inline` turns it into classes, e.g. `depth-20 network-plain`, that the page's script finds. The name is
    encoded as in an address, so that different names are different classes without spaces and dots."""
    parts = [f"depth-{depth}" for depth in depths]
    if network:
        parts.append(f"network-{quote(network, safe='').replace('.', '%2E')}")
    return MARK + ".".join(parts)


def classes(marked: str) -> str:
    """Return the classes of a `mark`."""
    return marked.removeprefix(MARK).replace(".", " ")


def inline(svg: str, name: str, label: str) -> str:
    """Return the text of an SVG file without its prologue, with `label` as its text alternative.

    matplotlib uses the same ids in every file, so they would clash on one page. Ids with references to them
    get the prefix `name`, and the others are dropped. A `mark` becomes classes, and so do AXIS and the ids of
    legends."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    references = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)
    referred = {one or other for one, other in references}
    svg = svg.replace(f' id="{AXIS}"', f' class="{AXIS}"')
    svg = re.sub(r' id="legend_\d+"', ' class="legend"', svg)
    svg = re.sub(rf' id="{MARK}([^"]*)"', lambda m: f' class="{classes(m[1])}"', svg)
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in referred else "", svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{name}-", svg)
    svg = compact(svg)
    svg = re.sub(r"(<style\b[^>]*>).*?(</style>)", _scoped(name), svg, flags=re.DOTALL)
    label = label.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return svg.replace("<svg", f'<svg id="{name}-svg" role="group" aria-label="{label}"', 1)


def _scoped(name: str) -> Callable[[re.Match[str]], str]:
    """Return a function that limits the rules of an inlined SVG to its figure, instead of the whole page."""

    def scope(match: re.Match[str]) -> str:
        rules = match.group(0)[len(match.group(1)) : -len(match.group(2))]
        return match.group(1) + re.sub(r"([^{}]+)\{", rf"#{name}-svg \1{{", rules) + match.group(2)

    return scope
