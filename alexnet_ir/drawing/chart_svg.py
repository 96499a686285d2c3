"""A chart as SVG. One column is laid out, with the largest cell of every row, and drawn for each device in each phase;
what crosses goes straight from column to column, through a band that has a rank of its own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from html import escape

from alexnet_ir.drawing.chart import Cell, Chart, Column, Exchange, Phase, moved_text
from alexnet_ir.drawing.layers import LIGHT, Arrow, Key, Size, place
from alexnet_ir.drawing.svg import ACCENT, BOLD_CHAR, CHAR, FILLS, LINE, PAD, STUB, curve

BAND = 36
RISE, DROP = 6, 16
"""How far an exchange begins above its band, and how far below it ends."""
INSET = 16
"""Between a column's edge and what stands in it."""
APART, PHASES_APART = 18, 44
HEAD, FOOT = 38, 16
TITLE_CHAR = 8.6
PILL, TIP = 31, 7.5
STYLE = (
    "text { font: 11px Helvetica, Arial, sans-serif; fill: #222; text-anchor: middle }"
    " .title { font-weight: bold; font-size: 15px; text-anchor: start } .sub { fill: #567; text-anchor: start }"
    " .phase { font-weight: bold; font-size: 13px } .device { fill: #667; font-weight: bold }"
    " .name { font-weight: bold; font-size: 12px } .note { fill: #667; font-size: 10px; font-style: italic }"
    " .shape { fill: #567; font-size: 10px; text-anchor: start }"
    " .column { fill: #f4f6f9; stroke: #dde2ea } .box { stroke: #666 } .aside { stroke-dasharray: 4 3 }"
    " .wire { fill: none; stroke: #666; stroke-width: 1.2 } .tip { fill: #666 }"
    f" .link {{ fill: none; stroke: {ACCENT} }} .port {{ fill: {ACCENT} }}"
    f" .pill {{ fill: #fff3e8; stroke: {ACCENT} }} .moved {{ fill: {ACCENT}; font-size: 10px }}"
    f" .kind {{ fill: {ACCENT}; font-weight: bold; font-size: 10px }}"
)


def chart_svg(chart: Chart) -> str:
    """The picture."""
    return _Drawing(chart).svg()


@dataclass(frozen=True, slots=True)
class _Spot:
    """Exchanges that are drawn as one: in one band, or within the rows of one rank."""

    phase: Phase
    y: float
    row: str | None
    exchanges: tuple[Exchange, ...]

    @property
    def links(self) -> list[tuple[int, int]]:
        """Between which devices, from and to."""
        return sorted({link for exchange in self.exchanges for link in exchange.links})

    @property
    def texts(self) -> tuple[str, str]:
        """What stands on the label."""
        kind, moved = moved_text(self.exchanges)
        rows = {exchange.row for exchange in self.exchanges}
        return (kind, moved) if len(rows) == 1 else (kind, f"{moved} in {len(rows)} layers")


def _pill_width(spot: _Spot) -> float:
    return max(len(text) for text in spot.texts) * CHAR + 14


class _Drawing:
    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.sizes: dict[Key, Size] = {(row,): self.size(row) for row in chart.rows}
        self.sizes |= {(band,): Size(6, BAND, alone=True) for band in chart.bands}
        self.arrows = {(a, b): Arrow((a,), (b,), a) for a, b in chart.edges}
        self.placed = place(self.sizes, list(self.arrows.values()), hanging=True)
        self.most = max((exchange.nbytes for exchange in chart.exchanges), default=1)

    def size(self, row: str) -> Size:
        """Of the largest cell of a row."""
        cells = [cell for (name, _), cell in self.chart.cells.items() if name == row]
        weight = LIGHT if all(cell.aside for cell in cells) else 1.0
        return Size(max(map(_width, cells)), max(map(_height, cells)), weight)

    # --- where everything is --------------------------------------------------------------------------------------

    @cached_property
    def inner(self) -> float:
        """The width of a column."""
        return self.placed.width + 2 * INSET

    @cached_property
    def top(self) -> float:
        """Where columns begin."""
        return PAD + 20 + (18 if self.chart.note else 0) + (24 if len(self.chart.phases) > 1 else 0)

    @cached_property
    def head(self) -> float:
        """From there to the first row."""
        return HEAD if self.chart.devices > 1 else INSET

    @cached_property
    def lefts(self) -> dict[Column, float]:
        """Where each column begins."""
        found, x = {}, float(PAD)
        for phase in self.chart.phases:
            gutter = max((_pill_width(spot) + APART for spot in self.spots if spot.phase == phase), default=APART)
            for device in range(self.chart.devices):
                found[Column(phase, device)] = x
                x += self.inner + gutter
            x += PHASES_APART - gutter
        return found

    @cached_property
    def spots(self) -> list[_Spot]:
        """Where something is exchanged."""
        found: dict[tuple[object, ...], list[Exchange]] = {}
        for exchange in self.chart.exchanges:
            band = exchange.row in self.chart.bands
            where = (exchange.row,) if band else (exchange.kind, self.placed.ranks[(exchange.row,)])
            found.setdefault((exchange.phase, *where), []).append(exchange)
        return [self.spot(exchanges) for exchanges in found.values()]

    def spot(self, exchanges: list[Exchange]) -> _Spot:
        row = exchanges[0].row
        band = row in self.chart.bands
        middle = BAND / 2 if band else self.sizes[(row,)].height / 2
        y = self.top + self.head + self.placed.ranks[(row,)][0] + middle
        return _Spot(exchanges[0].phase, y, row if band else None, tuple(exchanges))

    def x(self, name: str, column: Column) -> float:
        """The middle of a row's cell, or of a band, in a column."""
        return self.lefts[column] + INSET + self.placed.xs[(name,)]

    def y(self, name: str) -> float:
        """The upper end of a row, or where an exchange begins above its band."""
        return self.top + self.head + self.placed.ranks[(name,)][0] - (RISE if name in self.chart.bands else 0)

    def below(self, name: str, column: Column) -> float:
        """Where a cell ends, or what crosses a band."""
        if name in self.chart.bands:
            return self.y(name) + RISE + BAND + DROP
        return self.y(name) + _height(self.chart.cells[name, column])

    # --- what is drawn --------------------------------------------------------------------------------------------

    def svg(self) -> str:
        """All of it, what lies behind first."""
        chart = self.chart
        right = max(self.lefts.values()) + self.inner
        width = max(right, PAD + TITLE_CHAR * len(chart.title), PAD + CHAR * len(chart.note)) + PAD
        height = self.top + self.head + self.placed.height + FOOT + PAD
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
            f' viewBox="0 0 {width:.0f} {height:.0f}">\n<style>{STYLE}</style>',
            '<rect width="100%" height="100%" fill="#fff"/>',
            _text("title", PAD, PAD + 8, chart.title),
            *([_text("sub", PAD, PAD + 26, chart.note)] if chart.note else []),
            *self.headings(height - PAD),
            *(line for spot in self.spots for line in (self.crossing(spot) if spot.row else self.between(spot))),
            *(line for column in chart.columns for line in self.column(column)),
            *self.handed_over(),
            *(line for spot in self.spots for line in self.pill(spot)),
        ]
        return "\n".join([*lines, "</svg>"]) + "\n"

    def headings(self, bottom: float) -> Iterator[str]:
        """The phases' names, and a background for each column."""
        for column, left in self.lefts.items():
            yield (
                f'<rect class="column" x="{left:.1f}" y="{self.top}" width="{self.inner:.1f}"'
                f' height="{bottom - self.top:.1f}" rx="8"/>'
            )
            if self.chart.devices > 1:
                yield _text("device", left + self.inner / 2, self.top + 18, f"device {column.device}")
        for phase in self.chart.phases if len(self.chart.phases) > 1 else ():
            lefts = [left for column, left in self.lefts.items() if column.phase == phase]
            yield _text("phase", (min(lefts) + max(lefts) + self.inner) / 2, self.top - 8, phase)

    def column(self, column: Column) -> Iterator[str]:
        """One device in one phase: its wires, its cells, and the shapes of what goes on."""
        wires = list(self.chart.wires(column))
        if column.phase != "update":
            for source, target in wires:
                yield from self.wire(source, target, column)
            for band in self.chart.bands:
                if all(self.chart.reaches(band, column)):
                    yield _line("wire", self.x(band, column), self.y(band), self.below(band, column))
        for row in self.chart.rows:
            if cell := self.chart.cells.get((row, column)):
                yield from _cell(cell, self.x(row, column), self.y(row))
        for row in dict.fromkeys(source for source, _ in wires if source in self.chart.rows):
            if shape := self.chart.cells[row, column].shape:
                yield _text("shape", self.x(row, column) + 5, self.below(row, column) + 14, shape)

    def wire(self, source: str, target: str, column: Column) -> Iterator[str]:
        """An edge within a column; backward it points upward."""
        x, y, end, top = self.x(source, column), self.below(source, column), self.x(target, column), self.y(target)
        shift = self.top + self.head
        turn = y if source in self.chart.bands else shift + self.placed.ranks[(source,)][1] + STUB
        lanes = [
            (self.lefts[column] + INSET + lane, shift + upper, shift + lower)
            for lane, upper, lower in self.placed.lanes[self.arrows[source, target]]
        ]
        yield f'<path class="wire" d="{curve(x, y, turn, (*lanes, (end, top, top)))}"/>'
        if column.phase == "forward" and target in self.chart.rows:
            yield _tip("tip", end, top, 0, 1)
        if column.phase == "backward" and source in self.chart.rows:
            yield _tip("tip", x, y, 0, -1)

    def crossing(self, spot: _Spot) -> Iterator[str]:
        """What goes through a band from one column to others."""
        assert spot.row is not None
        ends = self.y(spot.row), self.y(spot.row) + RISE + BAND + DROP
        start, end = ends if spot.phase == "forward" else ends[::-1]
        for source, target in spot.links:
            x, other = (self.x(spot.row, Column(spot.phase, device)) for device in (source, target))
            width = self.thickness(spot)
            yield f'<path class="link" stroke-width="{width:.1f}" d="M{x:.1f} {start:.1f} L{other:.1f} {end:.1f}"/>'
            yield f'<circle class="port" cx="{x:.1f}" cy="{start:.1f}" r="3"/>'
            yield _tip("port", other, end, other - x, end - start)

    def between(self, spot: _Spot) -> Iterator[str]:
        """What is exchanged within a row: from column to column, beside the cells."""
        ranks = {self.placed.ranks[(exchange.row,)] for exchange in spot.exchanges}
        for device in range(self.chart.devices - 1):
            across = [(source, target) for source, target in spot.links if min(source, target) <= device]
            across = [(source, target) for source, target in across if max(source, target) > device]
            edges = [self.edge(ranks, Column(spot.phase, device + beside), side) for beside, side in ((0, 1), (1, -1))]
            if not across or None in edges:
                continue
            left, right = (edge for edge in edges if edge is not None)
            width = self.thickness(spot)
            yield f'<path class="link" stroke-width="{width:.1f}" d="M{left:.1f} {spot.y:.1f} H{right:.1f}"/>'
            if any(source > target for source, target in across):
                yield _tip("port", left, spot.y, -1, 0)
            if any(source < target for source, target in across):
                yield _tip("port", right, spot.y, 1, 0)

    def edge(self, ranks: Iterable[tuple[float, float]], column: Column, side: int) -> float | None:
        """How far to one side the cells in a rank reach."""
        found = [
            self.x(row, column) + side * _width(self.chart.cells[row, column]) / 2
            for row in self.chart.rows
            if self.placed.ranks[(row,)] in ranks and (row, column) in self.chart.cells
        ]
        return max(found, key=lambda x: side * x) if found else None

    def thickness(self, spot: _Spot) -> float:
        """More where more is moved."""
        return 1.2 + 1.8 * math.sqrt(sum(exchange.nbytes for exchange in spot.exchanges) / self.most)

    def pill(self, spot: _Spot) -> Iterator[str]:
        """The label of an exchange, in the middle of the columns that take part."""
        devices = [device for link in spot.links for device in link]
        middle = (min(devices) + max(devices) - 1) // 2
        left, right = (self.lefts[Column(spot.phase, middle + beside)] for beside in (0, 1))
        x, width = (left + self.inner + right) / 2, _pill_width(spot)
        y = spot.y + (DROP - RISE) / 2 if spot.row else spot.y
        yield (
            f'<rect class="pill" x="{x - width / 2:.1f}" y="{y - PILL / 2:.1f}" width="{width:.1f}" height="{PILL}"'
            ' rx="8"/>'
        )
        yield _text("kind", x, y - 3, spot.texts[0])
        yield _text("moved", x, y + 10, spot.texts[1])

    def handed_over(self) -> Iterator[str]:
        """From phase to phase: where the forward pass ends backward begins, and gradients go to the update."""
        inner = {source for source, _ in self.chart.edges}
        for phase, following in itertools.pairwise(self.chart.phases):
            rows = {row for row, column in self.chart.cells if column.phase == following}
            rows -= inner if phase == "forward" else set()
            ranks = {self.placed.ranks[(row,)]: row for row in self.chart.rows if row in rows}
            for rank, row in ranks.items():
                start, end = self.ends(rank, phase, following)
                y = self.y(row) + self.sizes[(row,)].height / 2
                yield f'<path class="wire" d="M{start:.1f} {y:.1f} H{end:.1f}"/>'
                yield _tip("tip", end, y, 1, 0)

    def ends(self, rank: tuple[float, float], phase: Phase, following: Phase) -> tuple[float, float]:
        """Between all columns of two phases; where only one device has something in a rank, between its cells."""
        columns = [[Column(p, device) for device in range(self.chart.devices)] for p in (phase, following)]
        cells = [[column for column in side if self.edge([rank], column, 1) is not None] for side in columns]
        if len(cells[0]) == len(cells[1]) == 1:
            start, end = self.edge([rank], cells[0][0], 1), self.edge([rank], cells[1][0], -1)
            assert start is not None
            assert end is not None
            return start, end
        return self.lefts[columns[0][-1]] + self.inner, self.lefts[columns[1][0]]


def _width(cell: Cell) -> float:
    texts = [BOLD_CHAR * len(cell.lines[0]), *(CHAR * len(line) for line in (*cell.lines[1:], cell.note))]
    return max(texts) + 2 * PAD


def _height(cell: Cell) -> float:
    return LINE * (len(cell.lines) + bool(cell.note)) + 9


def _cell(cell: Cell, x: float, y: float) -> Iterator[str]:
    """A cell whose upper edge has this middle."""
    width = _width(cell)
    style = "box aside" if cell.aside else "box"
    yield (
        f'<rect class="{style}" x="{x - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_height(cell)}" rx="5"'
        f' fill="{FILLS[cell.kind]}"/>'
    )
    for number, line in enumerate((*cell.lines, cell.note)):
        kind = "name" if number == 0 else "note" if number == len(cell.lines) else "line"
        if line:
            yield _text(kind, x, y + LINE * (number + 1) + 1, line)


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _line(kind: str, x: float, top: float, bottom: float) -> str:
    return f'<path class="{kind}" d="M{x:.1f} {top:.1f} V{bottom:.1f}"/>'


def _tip(kind: str, x: float, y: float, right: float, down: float) -> str:
    """An arrow's head that ends here, in this direction."""
    length = math.hypot(right, down)
    right, down = right / length, down / length
    back = (x - TIP * right, y - TIP * down)
    aside = (TIP / 2 * down, TIP / 2 * -right)
    corners = [(x, y), (back[0] + aside[0], back[1] + aside[1]), (back[0] - aside[0], back[1] - aside[1])]
    return f'<path class="{kind}" d="M{" L".join(f"{a:.1f} {b:.1f}" for a, b in corners)} z"/>'
