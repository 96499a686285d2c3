"""A diagram as SVG, written directly. Each scope is laid out on its own and drawn as a frame in the one around it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

from alexnet_ir.drawing.diagram import Box, Diagram
from alexnet_ir.drawing.layers import GAP_Y, LIGHT, Arrow, Key, Placed, Size, place

LINE = 15
CHAR, BOLD_CHAR = 5.9, 7.0
PAD = 14
STUB = 15
"""How far an arrow goes straight down, past the shape beside it, before it turns."""
FILLS = {
    "input": "#ffffff", "conv": "#d6e6fa", "fc": "#d9f0dc", "pool": "#fde7c8", "join": "#e8dcf5", "other": "#f1f1ef",
}  # fmt: skip
ACCENT = "#b8470b"
"""What is exchanged."""
STYLE = (
    "text { font: 11px Helvetica, Arial, sans-serif; fill: #222 } .name { font-weight: bold; font-size: 12px }"
    " .shape { fill: #567; font-size: 10px }"
    " .scope { fill: #667; font-weight: bold } .frame { fill: #8899aa; fill-opacity: .07; stroke: #b8c0ca }"
    " .box { stroke: #666 } .head { stroke-dasharray: 4 3 } .arrow { fill: none; stroke: #666; stroke-width: 1.2 }"
)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the picture, drawn from (0, 0) on. Where it is entered and left, from its left edge, by value; in the
    middle unless it says otherwise."""

    width: float
    height: float
    svg: str
    entries: dict[str, float] = field(default_factory=dict)
    exits: dict[str, float] = field(default_factory=dict)


def svg(diagram: Diagram) -> str:
    """The picture."""
    part = _scope(diagram, (), tuple(diagram.boxes))
    width, height = part.width + 2 * PAD, part.height + 2 * PAD + LINE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="0 0 {width:.0f} {height:.0f}">\n<style>{STYLE}</style>\n'
        '<marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#666"/></marker>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n'
        f'<text class="name" x="{PAD}" y="{PAD + 4}">{escape(diagram.title)}</text>\n'
        f"{_moved(part.svg, PAD, PAD + LINE)}\n</svg>\n"
    )


def _scope(diagram: Diagram, scope: tuple[str, ...], paths: Sequence[str]) -> Part:
    """What stands in a scope, laid out."""
    members: dict[Key, list[str]] = {}
    for path in paths:
        inner = diagram.boxes[path].scope[len(scope) :]
        members.setdefault(("scope", inner[0]) if inner else ("box", path), []).append(path)
    parts = {key: _member(diagram, scope, key, inside) for key, inside in members.items()}
    arrows = _arrows(diagram, members, parts)
    sizes = _sizes(diagram, members, parts, arrows)
    placed = place(sizes, arrows)
    drawn = [_arrow(arrow, placed, parts) for arrow in arrows]
    for key, part in parts.items():
        drawn.append(_moved(part.svg, placed.xs[key] - part.width / 2, placed.ranks[key][0]))
    drawn += [_shape(diagram.boxes[a.value], a, placed, parts) for a in arrows if a.source == ("box", a.value)]
    entries = {key[1]: placed.xs[key] for key in sizes if key[0] == "in"}
    exits = {key[1]: placed.xs[key] for key in sizes if key[0] == "out"}
    return Part(placed.width, placed.height, "\n".join(dict.fromkeys(drawn)), entries, exits)


def _member(diagram: Diagram, scope: tuple[str, ...], key: Key, paths: Sequence[str]) -> Part:
    kind, name = key
    return _box(diagram.boxes[name]) if kind == "box" else _frame(_scope(diagram, (*scope, name), paths), name)


def _sizes(
    diagram: Diagram, members: dict[Key, list[str]], parts: dict[Key, Part], arrows: Sequence[Arrow]
) -> dict[Key, Size]:
    """What is to be placed in a scope: its members, and points where arrows come in from outside and go there."""
    sizes = {}
    for key, paths in members.items():
        aside = all(diagram.boxes[path].training_only for path in paths)
        sizes[key] = Size(parts[key].width, parts[key].height, LIGHT if aside else 1.0)
    for arrow in arrows:
        if arrow.source[0] == "in":
            sizes[arrow.source] = Size(0, 0, first=True)
        if arrow.target[0] == "out":
            sizes[arrow.target] = Size(0, 0, last=True)
    return sizes


def _arrows(diagram: Diagram, members: dict[Key, list[str]], parts: dict[Key, Part]) -> list[Arrow]:
    """The arrows between the members of a scope, and those that cross its border."""
    owner = {path: key for key, paths in members.items() for path in paths}
    found: dict[Arrow, None] = {}
    for source, target in diagram.arrows:
        start, end = owner.get(source, ("in", source)), owner.get(target, ("out", source))
        if start != end and (source in owner or target in owner):
            leaving = _offset(parts[start], parts[start].exits, source) if source in owner else 0.0
            entering = _offset(parts[end], parts[end].entries, source) if target in owner else 0.0
            found[Arrow(start, end, source, leaving, entering)] = None
    return list(found)


def _offset(part: Part, ends: dict[str, float], value: str) -> float:
    return ends.get(value, part.width / 2) - part.width / 2


def _moved(svg: str, x: float, y: float) -> str:
    return f'<g transform="translate({x:.1f} {y:.1f})">\n{svg}\n</g>'


def _box(box: Box) -> Part:
    width = max(BOLD_CHAR * len(box.lines[0]), *(CHAR * len(line) for line in box.lines)) + 2 * PAD
    height = LINE * len(box.lines) + 9
    style = "box head" if box.training_only else "box"
    lines = [f'<rect class="{style}" width="{width:.1f}" height="{height}" rx="5" fill="{FILLS[box.kind]}"/>']
    for number, line in enumerate(box.lines):
        name = ' class="name"' if number == 0 else ""
        y = LINE * (number + 1) + 1
        lines.append(f'<text{name} x="{width / 2:.1f}" y="{y}" text-anchor="middle">{escape(line)}</text>')
    return Part(width, height, "\n".join(lines))


def _frame(inner: Part, title: str) -> Part:
    """A scope's part with a labelled frame around it; arrows come in at the upper edge and leave at the lower one."""
    width = max(inner.width + 2 * PAD, 2 * (BOLD_CHAR * len(title) + PAD))
    left = (width - inner.width) / 2
    above = 0.0 if inner.entries else GAP_Y
    height = above + inner.height + (0 if inner.exits else PAD)
    drawn = [
        f'<rect class="frame" width="{width:.1f}" height="{height:.1f}" rx="8"/>',
        f'<text class="scope" x="8" y="{LINE}">{escape(title)}</text>',
        _moved(inner.svg, left, above),
    ]
    entries = {value: x + left for value, x in inner.entries.items()}
    return Part(width, height, "\n".join(drawn), entries, {value: x + left for value, x in inner.exits.items()})


def _start(arrow: Arrow, placed: Placed, parts: dict[Key, Part]) -> tuple[float, float]:
    height = parts[arrow.source].height if arrow.source in parts else 0.0
    return placed.xs[arrow.source] + arrow.source_offset, placed.ranks[arrow.source][0] + height


def _arrow(arrow: Arrow, placed: Placed, parts: dict[Key, Part]) -> str:
    x, y = _start(arrow, placed, parts)
    end, top = placed.xs[arrow.target] + arrow.target_offset, placed.ranks[arrow.target][0]
    turn = placed.ranks[arrow.source][1] + (STUB if arrow.source in parts else 0)
    tip = ' marker-end="url(#tip)"' if arrow.target[0] == "box" else ""
    return f'<path class="arrow" d="{curve(x, y, turn, (*placed.lanes[arrow], (end, top, top)))}"{tip}/>'


def curve(x: float, y: float, turn: float, stops: Iterable[tuple[float, float, float]]) -> str:
    """A line from (x, y) straight down to `turn` and through stops: an x, and from where to where it is straight."""
    path = f"M{x:.1f} {y:.1f} V{turn:.1f}"
    y = turn
    for lane, upper, lower in stops:
        middle = (y + upper) / 2
        path += f" C{x:.1f} {middle:.1f} {lane:.1f} {middle:.1f} {lane:.1f} {upper:.1f} V{lower:.1f}"
        x, y = lane, lower
    return path


def _shape(box: Box, arrow: Arrow, placed: Placed, parts: dict[Key, Part]) -> str:
    x, y = _start(arrow, placed, parts)
    return f'<text class="shape" x="{x + 5:.1f}" y="{y + 14:.1f}">{box.shape}</text>'
