"""What names mean while a net is lowered, and how what is made there gets its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from alexnet_ir.diagnostics import Span
from alexnet_ir.dsl import syntax
from alexnet_ir.ir.graph import Value


@dataclass(frozen=True)
class Flow:
    """One or several values of the graph that stand for an expression."""

    values: tuple[Value, ...]

    def __str__(self) -> str:
        return "an image or map" if len(self.values) == 1 else f"{len(self.values)} values"


@dataclass(frozen=True)
class UnitValue:
    """An op or block as a value: `act = relu`, with the arguments it was written with and where they have a meaning."""

    callee: str
    arguments: tuple[syntax.Argument, ...]
    scope: Scope

    def __str__(self) -> str:
        return f"the op or block `{self.callee}`"


Defaults = dict[str, dict[str, tuple[Any, Span]]]
"""For each op, the keyword arguments that `defaults` give it, evaluated, and where they were written."""


@dataclass
class Scope:
    """The names of one call of a net, block or labelled group; `path` begins the names of what it makes."""

    path: str
    names: dict[str, Any]
    defaults: Defaults
    depth: int
    taken: set[str] = field(default_factory=set)
    last: dict[str, int] = field(default_factory=dict)

    def fresh(self, op: str) -> str:
        """The op and the first ordinal whose name is free."""
        number = self.last.get(op, 0) + 1
        while f"{op}{number}" in self.taken:
            number += 1
        self.last[op] = number
        self.taken.add(f"{op}{number}")
        return f"{op}{number}"

    def inner(self, name: str, stages: Sequence[syntax.Stage]) -> Scope:
        """The scope of a labelled group or a turn of a repeat: it sees the names around it and has its own paths."""
        return Scope(f"{self.path}{name}/", dict(self.names), self.defaults, self.depth + 1, labels(stages))


@dataclass(frozen=True)
class Layer:
    """One layer as it was written: its path, op, place, and the name of the value it makes."""

    path: str
    op: str
    span: Span
    value: str


def within(path: str, target: str) -> bool:
    """Whether a layer's path is `target`, or lies in the scope of that name: `stage2/conv1` in `stage2`."""
    return path == target or path.startswith(f"{target}/")


def labels(stages: Sequence[syntax.Stage]) -> set[str]:
    """The labels that belong to the scope in which these stages stand."""
    found: set[str] = set()
    for stage in stages:
        if stage.label is not None:
            found.add(stage.label)
        elif isinstance(stage.unit, syntax.Group) and stage.repeat is None:
            found |= labels(stage.unit.stages)
        if isinstance(stage.unit, syntax.StageIf):
            found |= labels([stage.unit.then, stage.unit.otherwise])
    return found


def expression_labels(expr: syntax.Expr) -> set[str]:
    """The labels in an expression."""
    match expr:
        case syntax.Chain():
            return expression_labels(expr.head) | labels(expr.stages)
        case syntax.If():
            return expression_labels(expr.then) | expression_labels(expr.otherwise)
        case syntax.Call():
            return set().union(*(expression_labels(a.value) for a in expr.arguments))
        case _:
            return set()


@dataclass(frozen=True)
class Use:
    """An op or block being applied: with these arguments, read in the scope `meaning`, to what flows in (None where it
    has all it works on as arguments), in the scope `scope`, there called `name` (None: by its ordinal)."""

    callee: str
    arguments: tuple[syntax.Argument, ...]
    span: Span
    flow: Any
    scope: Scope
    meaning: Scope
    name: str | None

    def path(self, name: str) -> str:
        """The path of what is made, `name` and an ordinal if it has no name of its own."""
        return f"{self.scope.path}{self.name or self.scope.fresh(name)}"
