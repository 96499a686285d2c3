"""The syntax tree of an `.alx` file: what was written, and where, before any of it has a meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from alexnet_ir.diagnostics import Source, Span


@dataclass(frozen=True, slots=True)
class Number:
    """`10`, `450_000`, `.5`, `1e-4`, `50%`. `value` is an int where the text is a whole number."""

    value: int | float
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class String:
    """`"imagenet"`; `value` is without the quotes."""

    value: str
    span: Span


@dataclass(frozen=True, slots=True)
class Name:
    """A name in an expression or standing for a unit in a chain."""

    id: str
    span: Span


@dataclass(frozen=True, slots=True)
class Argument:
    """`stride = 4` or a bare expression (`name` is None); the span covers both sides."""

    name: str | None
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    """`conv(96, 11, stride = 4)`; `name_span` covers only the callee."""

    callee: str
    arguments: tuple[Argument, ...]
    name_span: Span
    span: Span


@dataclass(frozen=True, slots=True)
class Negate:
    """`-x`."""

    operand: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Binary:
    """`left op right` on constants."""

    op: Literal["+", "-", "*", "/"]
    left: Expr
    right: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Sequence:
    """`(a, b)` or `[a, b]`; `bracket` tells which."""

    bracket: Literal["(", "["]
    items: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Group:
    """`(stage -> stage)` as a unit of a chain."""

    stages: tuple[Stage, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class StageIf:
    """`(if condition then stage else stage)` as a unit of a chain."""

    condition: Name
    then: Stage
    otherwise: Stage
    span: Span


Unit: TypeAlias = Call | Name | Group | StageIf


@dataclass(frozen=True, slots=True)
class Stage:
    """`label: unit * repeat`, one step of a chain. `span` covers all of it, `label_span` the label."""

    label: str | None
    unit: Unit
    repeat: Number | Name | None
    span: Span
    label_span: Span | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """`head -> stage -> stage`, with at least one stage."""

    head: Expr
    stages: tuple[Stage, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class If:
    """`if condition then a else b`, as an expression."""

    condition: Expr
    then: Expr
    otherwise: Expr
    span: Span


Expr: TypeAlias = Number | String | Name | Call | Negate | Binary | Sequence | Chain | If


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a net or block, with its default if it has one."""

    name: str
    default: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class Rule:
    """`conv, fc: (bias = 0)` inside `defaults`; `ops` are names with their spans."""

    ops: tuple[Name, ...]
    arguments: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Let:
    """`a, b = expression`."""

    names: tuple[Name, ...]
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Body:
    """What stands between the braces of a net or block; `results` is what `return` names."""

    defaults: tuple[Rule, ...]
    lets: tuple[Let, ...]
    results: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Definition:
    """`net NAME(...) {...}` or `block NAME(...) {...}`; `name_span` covers the name."""

    kind: Literal["net", "block"]
    name: str
    parameters: tuple[Parameter, ...]
    body: Body
    name_span: Span
    span: Span


@dataclass(frozen=True, slots=True)
class Field:
    """`batch: 128` inside a section; `name_span` covers the name."""

    name: str
    value: Expr
    name_span: Span
    span: Span


@dataclass(frozen=True, slots=True)
class Section:
    """`data NAME {...}`, `train NAME {...}` or `place NAME {...}`; `name_span` covers the name."""

    kind: Literal["data", "train", "place"]
    name: str
    fields: tuple[Field, ...]
    name_span: Span
    span: Span


@dataclass(frozen=True, slots=True)
class File:
    """A whole `.alx` file, its items in the order they stand in."""

    version: int
    definitions: tuple[Definition, ...]
    sections: tuple[Section, ...]
    source: Source
