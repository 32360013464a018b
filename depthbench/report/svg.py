"""Turn an SVG file into markup for an HTML page with several figures."""

import re
from collections.abc import Callable

AXIS = "axis"  # id of an axis that stays visible when its panel is hidden


def depth_id(*depths: int) -> str:
    """Return the id that marks a part of a figure as showing these depths."""
    return "-".join(["depth", *map(str, depths)])


def inline(svg: str, name: str, label: str) -> str:
    """Return the text of an SVG file without its prologue, with `label` as its text alternative.

    matplotlib uses the same ids in every file, so they would clash on one page. Ids that something refers to
    get the prefix `name`, and the others are dropped. A `depth_id` becomes one class for each depth, and AXIS
    becomes a class."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    references = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)
    referred = {one or other for one, other in references}
    svg = svg.replace(f' id="{AXIS}"', f' class="{AXIS}"')
    svg = re.sub(r' id="depth-([\d-]+)"', lambda m: f' class="depth-{m[1].replace("-", " depth-")}"', svg)
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in referred else "", svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{name}-", svg)
    svg = re.sub(r"(<style\b[^>]*>).*?(</style>)", _scoped(name), svg, flags=re.DOTALL)
    label = label.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return svg.replace("<svg", f'<svg id="{name}-svg" role="img" aria-label="{label}"', 1)


def _scoped(name: str) -> Callable[[re.Match[str]], str]:
    """Return a function that limits the rules of an inlined SVG to its figure, instead of the whole page."""

    def scope(match: re.Match[str]) -> str:
        rules = match.group(0)[len(match.group(1)) : -len(match.group(2))]
        return match.group(1) + re.sub(r"([^{}]+)\{", rf"#{name}-svg \1{{", rules) + match.group(2)

    return scope
