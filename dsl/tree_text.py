"""The syntax tree as plain data and as indented lines, for `compile --emit ast`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from alexnet_ir.diagnostics import Source, Span


def tree_data(node: Any) -> Any:
    """A node as a dictionary: its class as `node`, where it stands as `at`, then its fields."""
    if isinstance(node, tuple):
        return [tree_data(item) for item in node]
    if not is_dataclass(node):
        return node
    parts = {field.name: getattr(node, field.name) for field in fields(node)}
    span = parts.pop("span", None)
    data = {"node": type(node).__name__} | ({"at": f"{span.line}:{span.column}"} if span else {})
    return data | {name: tree_data(part) for name, part in parts.items() if not isinstance(part, Span | Source)}


def tree_text(data: dict[str, Any]) -> str:
    """The same, one node a line, what it holds indented under it."""
    return "\n".join(_lines(data, "", ""))


def _lines(data: dict[str, Any], label: str, indent: str) -> Iterator[str]:
    words = [f"{name} = {value!r}" for name, value in data.items() if name not in ("node", "at") and _is_leaf(value)]
    at = f" @{data['at']}" if "at" in data else ""
    yield f"{indent}{label}{data['node']}{at}" + (f" ({', '.join(words)})" if words else "")
    for name, value in data.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{name}: ", indent + "  ")
        elif isinstance(value, list) and value:
            yield f"{indent}  {name}:"
            for item in value:
                yield from _lines(item, "", indent + "    ")


def _is_leaf(value: Any) -> bool:
    return value is not None and not isinstance(value, dict | list)
