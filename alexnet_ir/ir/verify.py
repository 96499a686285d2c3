"""The verifier: what must hold for every graph, between all passes.

It re-runs the ops' type rules and does not restate them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import networkx as nx

from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.op import Source as OpSource
from alexnet_ir.ir.op import TypeRuleError
from alexnet_ir.ir.types import TensorType


class VerificationError(Exception):
    """A graph is broken: a mistake of a pass, never of a user."""


def verify(graph: Graph) -> None:
    """Raise VerificationError with everything that is wrong with the graph."""
    problems = list(_problems(graph))
    if problems:
        raise VerificationError(f"graph {graph.name}:\n" + "\n".join(f"  {p}" for p in problems))


def _problems(graph: Graph) -> Iterator[str]:
    if strays := set(graph._nx) ^ set(graph._nodes):
        yield f"nodes and edges do not agree on {sorted(strays)}"
        for node in graph._nodes.values():
            yield from _operand_problems(graph, node)
        return
    if not nx.is_directed_acyclic_graph(graph._nx):
        yield "there is a cycle"
        return
    for node in graph.topo():
        yield from _operand_problems(graph, node)
        yield from _type_problems(graph, node)
    yield from _name_problems(graph)
    yield from _boundary_problems(graph)


def _exists(graph: Graph, value: Value) -> bool:
    return value.node in graph._nodes and value.index < len(graph.node(value).types)


def _operand_problems(graph: Graph, node: Node) -> Iterator[str]:
    for operand in node.operands:
        if not _exists(graph, operand):
            yield f"%{node.name} reads {operand}, which does not exist"
    indexed = sorted((key, source) for source, _, key in graph._nx.in_edges(node.id, keys=True))
    if indexed != [(i, v.node) for i, v in enumerate(node.operands)]:
        yield f"%{node.name}: the edges are not its operands"


def _type_problems(graph: Graph, node: Node) -> Iterator[str]:
    if any(not _exists(graph, v) for v in node.operands):
        return
    where = f"%{node.name} ({node.span})" if node.span else f"%{node.name}"
    try:
        types = node.op.infer([graph.type(v) for v in node.operands], graph.devices)
    except TypeRuleError as failure:
        yield f"{where}: {failure.message}"
        return
    if types != node.types:
        yield f"{where}: has {[str(t) for t in node.types]}, its rule says {[str(t) for t in types]}"
    if not all(isinstance(t, TensorType) for t in types):
        yield f"{where}: its type is an error"


def _name_problems(graph: Graph) -> Iterator[str]:
    counts = Counter(graph.value_name(v) for node in graph.topo() for v in node.results)
    yield from (f"two values are called %{name}" for name, count in counts.items() if count > 1)


def _boundary_problems(graph: Graph) -> Iterator[str]:
    sources = [v.node for v in graph.inputs.values()] + [s.read.node for s in graph.states.values()]
    if sorted(sources) != sorted(node.id for node in graph.topo() if isinstance(node.op, OpSource)):
        yield "the inputs and states are not the nodes that come from outside"
    for name, value in graph.outputs.items():
        if not _exists(graph, value):
            yield f"output {name} does not exist"
    for state in graph.states.values():
        if state.update is not None and not _exists(graph, state.update):
            yield f"the update of {state.name} does not exist"
        elif state.update is not None and graph.type(state.update) != graph.type(state.read):
            yield f"{state.name} is {graph.type(state.read)}, its update {graph.type(state.update)}"
