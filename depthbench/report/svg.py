"""An SVG file -> markup that stands in an HTML page beside others."""

import re

from depthbench.report.style import AXIS


def inline(svg: str, name: str, label: str) -> str:
    """`svg` (a file's text) without its prologue, with the text alternative `label`.

    matplotlib numbers ids anew in each file, so that two figures of a page would share them: the ids that
    something refers to get the prefix `name`, the others go. What is of a depth (style.is_of_depth) gets that
    as its class, or of several theirs, and the scales of a panel `axis`."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    wanted = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg))
    wanted = {one or other for one, other in wanted}
    svg = svg.replace(f' id="{AXIS}"', f' class="{AXIS}"')
    svg = re.sub(r' id="depth-([\d-]+)"', lambda m: f' class="depth-{m[1].replace("-", " depth-")}"', svg)
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in wanted else "", svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{name}-", svg)
    svg = re.sub(r"(<style\b[^>]*>).*?(</style>)", _scoped(name), svg, flags=re.DOTALL)
    label = label.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return svg.replace("<svg", f'<svg id="{name}-svg" role="img" aria-label="{label}"', 1)


def _scoped(name: str):
    """Rules inside an inlined SVG apply to the whole page: bind them to this figure."""

    def scope(match: re.Match) -> str:
        rules = match.group(0)[len(match.group(1)) : -len(match.group(2))]
        return match.group(1) + re.sub(r"([^{}]+)\{", rf"#{name}-svg \1{{", rules) + match.group(2)

    return scope
