"""A diagram in Graphviz's language: the same boxes and arrows, scopes as clusters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alexnet_ir.drawing.diagram import Diagram
from alexnet_ir.drawing.svg import FILLS


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
