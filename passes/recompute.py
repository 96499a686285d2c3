"""Computes values again where backward needs them, so that they need not be kept till then.

Before:  %b = relu(%a)     %c = avgpool(%b)     ...     %a.grad = relu_grad(%c.grad, %b)
After:   %b = relu(%a)     %c = avgpool(%b)     ...     %b.again = relu(%a)     %a.grad = relu_grad(%c.grad, %b.again)

The clone has the same op and operands, or their clones, so it has the same bits: dropout's masks depend on counters
only. It is the youngest node there is, and `schedule` puts it right before its first reader. `cleanup` would merge it
with the original: it must not run after this pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.op import Source
from alexnet_ir.ops.shape import Copy
from alexnet_ir.ops.update import UpdateOp
from alexnet_ir.passes.base import Pass


@dataclass(frozen=True)
class Recompute(Pass):
    """`nodes` are the names of those whose results are dropped after forward."""

    name: ClassVar[str] = "recompute"
    nodes: tuple[str, ...] = ()

    def run(self, graph: Graph) -> bool:
        named = {graph.named(name).node for name in self.nodes}
        dropped = [node for node in graph.topo() if node.id in named]
        early = forward(graph)
        readers = {user.id for node in dropped for value in node.results for user in graph.users(value)} - early
        again = _clones(graph, dropped)
        for reader in map(graph.node, sorted(readers)):
            graph.set_operands(reader, tuple(again.get(v, v) for v in reader.operands))
        return _without_dead(graph, [again[node.results[0]].node for node in dropped])


def can_be_cloned(node: Node) -> bool:
    """Whether it may run twice: a transfer would move its bytes again, and an update would be applied again."""
    return not isinstance(node.op, Source | Copy | UpdateOp)


def forward(graph: Graph) -> set[int]:
    """The ids of the nodes that outputs and statistics depend on; the others, which only parameters and slots depend
    on, are backward."""
    stack = [value.node for value in graph.outputs.values()]
    stack += [s.update.node for s in graph.states.values() if s.role == "statistic" and s.update is not None]
    found: set[int] = set()
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack += [value.node for value in graph.node(node).operands]
    return found


def _clones(graph: Graph, dropped: list[Node]) -> dict[Value, Value]:
    """A clone of each node, which reads clones where there are some."""
    again: dict[Value, Value] = {}
    for node in dropped:
        operands = [again.get(v, v) for v in node.operands]
        results = graph.emit_all(node.op, *operands, name=f"{node.name}.again", span=node.span)
        again.update(zip(node.results, results, strict=True))
    return again


def _without_dead(graph: Graph, clones: list[int]) -> bool:
    """Erase the clones that nobody reads; whether some are left."""
    left = len(clones)
    for node in map(graph.node, reversed(clones)):
        if not any(graph.users(value) for value in node.results):
            graph.erase(node)
            left -= 1
    return left > 0
