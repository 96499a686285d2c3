"""Diagrams and charts in Graphviz's language: the same boxes and arrows, scopes and devices as clusters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alexnet_ir.drawing.chart import Chart, Column, Exchange, moved_text
from alexnet_ir.drawing.diagram import Diagram
from alexnet_ir.drawing.svg import ACCENT, FILLS


def dot(diagram: Diagram) -> str:
    """The text of a `.dot` file."""
    lines = [
        f"digraph {_quoted(diagram.title)} {{",
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11]',
        '  edge [fontname="Helvetica", fontsize=10]',
        *_scope(diagram, (), tuple(diagram.boxes)),
    ]
    for source, target in diagram.arrows:
        lines.append(f"  {_quoted(source)} -> {_quoted(target)} [label={_quoted(diagram.boxes[source].shape)}]")
    return "\n".join([*lines, "}"]) + "\n"


def _scope(diagram: Diagram, scope: tuple[str, ...], paths: Sequence[str]) -> Iterator[str]:
    indent = "  " * (len(scope) + 1)
    inner: dict[str, list[str]] = {}
    for path in paths:
        box = diagram.boxes[path]
        if len(box.scope) > len(scope):
            inner.setdefault(box.scope[len(scope)], []).append(path)
            continue
        style = ', style="rounded,filled,dashed"' if box.training_only else ""
        label = "\\n".join(box.lines)
        yield f'{indent}{_quoted(path)} [label="{label}", fillcolor="{FILLS[box.kind]}"{style}]'
    for name, inside in inner.items():
        path_of = "/".join((*scope, name))
        yield f"{indent}subgraph {_quoted(f'cluster_{path_of}')} {{"
        yield f"{indent}  label={_quoted(name)}"
        yield from _scope(diagram, (*scope, name), inside)
        yield f"{indent}}}"


def _quoted(text: str) -> str:
    return f'"{text}"'  # names and shapes have neither quotes nor backslashes


# --- charts ---------------------------------------------------------------------------------------------------------


def chart_dot(chart: Chart) -> str:
    """The text of a `.dot` file of a chart: a cluster for each column, and a node for each exchange."""
    title = "\\n".join(filter(None, (chart.title, chart.note)))
    lines = [
        f"digraph {_quoted(chart.title)} {{",
        f'  label={_quoted(title)}; labelloc=t; fontname="Helvetica"; newrank=true',
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11]',
        '  edge [fontname="Helvetica", fontsize=10]',
    ]
    for column in chart.columns:
        name = f"{column.phase} on device {column.device}"
        lines += [f"  subgraph {_quoted(f'cluster_{name}')} {{", f"    label={_quoted(name)}"]
        lines += [f"    {line}" for line in _cells(chart, column)]
        lines.append("  }")
    lines += [f"  {line}" for line in _ranks(chart)]
    for column in chart.columns:
        lines += [f"  {line}" for line in _edges(chart, column)]
    for exchange in chart.exchanges:
        lines += [f"  {line}" for line in _exchange(chart, exchange)]
    return "\n".join([*lines, "}"]) + "\n"


def _id(row: str, column: Column) -> str:
    return _quoted(f"{row} {column.phase}@{column.device}")


def _cells(chart: Chart, column: Column) -> Iterator[str]:
    for row in chart.rows:
        if cell := chart.cells.get((row, column)):
            label = "\\n".join(filter(None, (*cell.lines, cell.note)))
            yield f'{_id(row, column)} [label="{label}", fillcolor="{FILLS[cell.kind]}"]'


def _ranks(chart: Chart) -> Iterator[str]:
    """The devices' shares of a layer stand side by side."""
    for phase in chart.phases:
        for row in chart.rows:
            same = [
                _id(row, column) for column in chart.columns if column.phase == phase and (row, column) in chart.cells
            ]
            if len(same) > 1:
                yield f"{{ rank=same; {'; '.join(same)} }}"


def _edges(chart: Chart, column: Column) -> Iterator[str]:
    """What goes on within a column; backward it goes the other way, and updates read gradients."""
    if column.phase == "update":
        for row in chart.rows:
            if (row, column) in chart.cells:
                yield f"{_id(row, Column('backward', column.device))} -> {_id(row, column)}"
        return
    for source, target in _through(chart):
        if (source, column) in chart.cells and (target, column) in chart.cells:
            ahead, label = column.phase == "forward", chart.cells[source, column].shape
            ends = (_id(source, column), _id(target, column))
            yield f"{ends[0]} -> {ends[1]} [label={_quoted(label)}]" if ahead else f"{ends[1]} -> {ends[0]}"


def _through(chart: Chart) -> Iterator[tuple[str, str]]:
    """The edges from row to row, bands left out."""
    for source, target in chart.edges:
        if source in chart.bands:
            continue
        yield from ((source, end) for start, end in chart.edges if start == target in chart.bands)
        if target not in chart.bands:
            yield source, target


def _exchange(chart: Chart, exchange: Exchange) -> Iterator[str]:
    """A node, and edges to it from all that send and from it to all that receive."""
    name, label = _quoted(exchange.name), "\\n".join(moved_text([exchange]))
    yield f'{name} [shape=ellipse, label="{label}", color="{ACCENT}", fontcolor="{ACCENT}", fillcolor="#fff3e8"]'
    above = [source for source, target in chart.edges if target == exchange.row in chart.bands] or [exchange.row]
    below = [target for source, target in chart.edges if source == exchange.row in chart.bands] or [exchange.row]
    give, take = (above, below) if exchange.phase == "forward" else (below, above)
    for end, rows, way in ((0, give, "{cell} -> {name}"), (1, take, "{name} -> {cell}")):
        for device in sorted({link[end] for link in exchange.links}):
            column = Column(exchange.phase, device)
            for row in rows:
                if (row, column) in chart.cells:
                    yield way.format(cell=_id(row, column), name=name) + f' [color="{ACCENT}"]'
