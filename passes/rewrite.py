"""Pattern, check, rewrite: the machinery of passes that turn pieces of a graph into others.

A rule finds pieces, gives the reason why one must stay as it is, or rewrites it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.op import Op

Piece: TypeAlias = tuple[Node, ...]
"""Nodes of a graph, each after those of them that it reads."""


@dataclass(frozen=True)
class Pattern:
    """A node of one of these classes, and patterns of nodes that it reads."""

    ops: tuple[type[Op], ...]
    reads: tuple[Read, ...] = ()

    def match(self, graph: Graph, node: Node) -> Piece | None:
        """The piece that ends in this node."""
        if not isinstance(node.op, self.ops):
            return None
        found: list[Node] = []
        for read in self.reads:
            value = node.operands[read.operand]
            piece = read.pattern.match(graph, graph.node(value)) if value.index == read.result else None
            if piece is None:
                return None
            found += piece
        return (*found, node)

    def find(self, graph: Graph) -> Iterator[Piece]:
        """All pieces, while the graph may change between one and the next."""
        for node in graph.topo():
            piece = self.match(graph, graph.node(node.id)) if node.id in graph else None
            if piece is not None:
                yield piece


@dataclass(frozen=True)
class Read:
    """An operand that is a certain result of what the pattern describes."""

    pattern: Pattern
    operand: int = 0
    result: int = 0


def chain(*steps: tuple[type[Op], ...]) -> Pattern:
    """Nodes of which each reads, as its first operand, the first result of the one before."""
    first, *rest = steps
    pattern = Pattern(first)
    for ops in rest:
        pattern = Pattern(ops, (Read(pattern),))
    return pattern


class Rule(ABC):
    """One way to rewrite pieces."""

    name: str

    @abstractmethod
    def candidates(self, graph: Graph) -> Iterator[Piece]:
        """The pieces it could be for, while the graph changes between one and the next."""

    @abstractmethod
    def refusal(self, graph: Graph, piece: Piece) -> str | None:
        """Why a piece must stay as it is; None if nothing is against it."""

    @abstractmethod
    def rewrite(self, graph: Graph, piece: Piece) -> Node:
        """Rewrite a piece; the node that stands for it now."""


@dataclass(frozen=True, slots=True)
class Done:
    """A piece, as it was, and the node that stands for it."""

    rule: str
    piece: Piece
    node: Node


@dataclass(frozen=True, slots=True)
class Refusal:
    """A piece that a rule was for, by names, and why it stays."""

    rule: str
    names: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"{' + '.join(self.names)}: {self.reason}"


def apply(graph: Graph, rules: Sequence[Rule]) -> tuple[list[Done], list[Refusal]]:
    """Rewrite what can be, one rule after the other. A refusal is left out if its piece ended in a smaller one of the
    same rule."""
    done: list[Done] = []
    refused: list[Refusal] = []
    for rule in rules:
        for piece in rule.candidates(graph):
            reason = rule.refusal(graph, piece)
            if reason is None:
                done.append(Done(rule.name, piece, rule.rewrite(graph, piece)))
            else:
                refused.append(Refusal(rule.name, tuple(node.name for node in piece), reason))
    found = {(d.rule, node.name) for d in done for node in d.piece}
    return done, [r for r in refused if (r.rule, r.names[-1]) not in found]


# --- what rules ask -----------------------------------------------------------------------------------------------


def readers_outside(graph: Graph, value: Value, piece: Piece) -> list[str]:
    """What reads a value beside the piece: nodes, outputs and states, by names."""
    inside = {node.id for node in piece}
    found = [user.name for user in graph.users(value) if user.id not in inside]
    found += [f"the output {name}" for name, output in graph.outputs.items() if output == value]
    return found + [f"the state {state.name}" for state in graph.states.values() if state.update == value]


def downstream(graph: Graph, values: Iterable[Value]) -> Iterator[Node]:
    """All nodes that depend on the values, each once."""
    seen: set[int] = set()
    stack = list(values)
    while stack:
        for user in graph.users(stack.pop()):
            if user.id not in seen:
                seen.add(user.id)
                stack += user.results
                yield user


def way_back(graph: Graph, piece: Piece) -> Node | None:
    """A node beside the piece that depends on it and that it reads: as one node, they would be a cycle."""
    inside = {node.id for node in piece}
    for node in downstream(graph, [value for member in piece for value in member.results]):
        if node.id not in inside and any(user.id in inside for v in node.results for user in graph.users(v)):
            return node
    return None
