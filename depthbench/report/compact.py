"""Shorten the SVG files of matplotlib for a page of many figures, without changing the picture."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

PLACES = 100  # units per point: 1/100 pt is far below a pixel
TAG = re.compile(r"<[A-Za-z][^>]*>")
STYLED = re.compile(r'(?: clip-path="(?P<clip>[^"]*)")? style="(?P<style>[^"]*)"')
PART = re.compile(r"[A-Za-z]|-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?")
LENGTHS = {"M": 2, "L": 2, "Q": 4, "C": 6}  # numbers after each command that matplotlib writes


def compact(svg: str) -> str:
    """Return an SVG file of matplotlib with rounded positions and without parts that have no effect.

    Styles that several parts share become classes in its <style>."""
    svg = re.sub(r' d="([^"]*)"', lambda path: f' d="{short_path(path[1])}"', svg)
    svg = re.sub(r' transform="rotate\(-0 [^"]*"', "", svg)
    svg = re.sub(r' (x|y)="([^"]*)"', lambda at: f' {at[1]}="{_text(_units(at[2]))}"', svg)
    svg = re.sub(r">\s*\n\s*<", "><", svg)
    return _without_empty_groups(_with_classes(svg))


def short_path(path: str) -> str:
    """Return the path of straight and curved lines with rounded, relative positions.

    Each position is rounded before the difference is taken, so that errors do not add up."""
    written, at, start, last = [], (0, 0), (0, 0), ""
    for command, numbers in _commands(path):
        if command in "zZ":
            written.append("z")
            at, last = start, "z"
            continue
        positions = [_units(number) for number in numbers]
        if command == "M":
            written.append("M" + _joined(positions))
            at = start = positions[0], positions[1]
            last = "M"
            continue
        moves = [p - at[i % 2] for i, p in enumerate(positions)]
        name = command.lower()
        if command == "L" and 0 in moves:
            name = "h" if moves[1] == 0 else "v"
            moves = [moves[0] if name == "h" else moves[1]]
        text = _joined(moves)
        if name != last:
            text = name + text
        elif not text.startswith("-"):
            text = " " + text
        written.append(text)
        at, last = (positions[-2], positions[-1]), name
    return "".join(written)


def _commands(path: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a path with its numbers."""
    parts, at = PART.findall(path), 0
    while at < len(parts):
        command = parts[at]
        end = at + 1 + LENGTHS.get(command, 0)
        yield command, parts[at + 1 : end]
        at = end


def _units(number: str) -> int:
    return round(float(number) * PLACES)


@cache
def _text(units: int) -> str:
    """Write a length. The results are cached, because many lengths recur."""
    text = f"{units / PLACES:.2f}".rstrip("0").rstrip(".")
    return text.replace("0.", ".", 1) if abs(units) < PLACES else text


def _joined(numbers: list[int]) -> str:
    """Join numbers with a space, except before a minus sign."""
    return re.sub(" -", "-", " ".join(map(_text, numbers)))


def _with_classes(svg: str) -> str:
    """Turn styles of several tags into classes. A tag that has a class keeps its style."""
    head = re.search(r"<style\b[^>]*>", svg)
    if head is None:
        return svg
    counts = Counter(
        found.group()
        for tag in TAG.findall(svg)
        if " class=" not in tag
        for found in STYLED.finditer(tag)
        if found
    )
    shared = {style: f"s{i}" for i, (style, count) in enumerate(counts.most_common()) if count > 1}

    def replaced(tag: re.Match[str]) -> str:
        if " class=" in tag[0]:
            return tag[0]
        return STYLED.sub(
            lambda found: f' class="{shared[found[0]]}"' if found[0] in shared else found[0], tag[0]
        )

    rules = []
    for style, name in shared.items():
        found = STYLED.fullmatch(style)
        assert found is not None
        clip = f";clip-path:{found['clip']}" if found["clip"] else ""
        rules.append(f".{name}{{{found['style'].replace(': ', ':').replace('; ', ';')}{clip}}}")
    svg = TAG.sub(replaced, svg)
    return svg.replace(head.group(), head.group() + "".join(rules), 1)


def _without_empty_groups(svg: str) -> str:
    """Remove <g> without attributes, and keep what they hold."""
    kept: list[bool] = []
    written, end = [], 0
    for tag in re.finditer(r"<g\b[^>]*[^>/]>|<g>|</g>", svg):
        written.append(svg[end : tag.start()])
        end = tag.end()
        if tag.group() == "</g>":
            is_kept = kept.pop()
        else:
            is_kept = tag.group() != "<g>"
            kept.append(is_kept)
        if is_kept:
            written.append(tag.group())
    return "".join(written) + svg[end:]
