"""Takes out what nothing needs: what does nothing, what is computed twice, and what nobody reads.

Before:  %a = identity(%x)     %b = relu(%a)     %c = relu(%x)     %d = tanh(%x)
         output y = %b         output z = %c
After:   %b = relu(%x)
         output y = %b         output z = %b

Two dropouts of one value have different streams, so they are different ops and stay two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.op import Op, Source
from alexnet_ir.ops.elementwise import Identity, Scale
from alexnet_ir.ops.placing import Reshard, exchanged_bytes
from alexnet_ir.passes.base import Pass


@dataclass(frozen=True)
class Cleanup(Pass):
    """Idempotent. Inputs that nothing reads go too, and states that nothing reads or writes."""

    name: ClassVar[str] = "cleanup"

    def run(self, graph: Graph) -> bool:
        changed = False
        while self.once(graph):
            changed = True
        return changed

    def once(self, graph: Graph) -> bool:
        """Each rule once; a reshard that then has fewer readers may be shortened the next time."""
        changed = remove_identities(graph)
        changed |= shorten_reshards(graph)
        changed |= merge_equal(graph)
        return remove_dead(graph) or changed


def remove_identities(graph: Graph) -> bool:
    """Let the readers of `identity` and of a scaling by 1 read its operand."""
    found = [n for n in graph.topo() if isinstance(n.op, Identity) or n.op == Scale(1.0)]
    for node in found:
        # Read anew: an identity before this one may have been replaced since.
        graph.replace(node.results[0], graph.node(node.id).operands[0])
    return bool(found)


def shorten_reshards(graph: Graph) -> bool:
    """Let a reshard of a reshard read the value as it lay first, where that moves no more bytes: the first hop is free,
    or made for this one only. What then goes nowhere goes."""
    changed = False
    for old in graph.topo():
        node = graph.node(old.id)
        if not isinstance(node.op, Reshard):
            continue
        first = graph.node(node.operands[0])
        if isinstance(first.op, Reshard) and (_moves(graph, first) == 0 or len(graph.users(first.results[0])) == 1):
            (value,) = graph.emit_all(node.op, *first.operands, name=node.name, span=node.span)
            graph.replace(node.results[0], value)
            node, changed = graph.node(value), True
        if graph.tensor(node.operands[0]).placement == graph.tensor(node.results[0]).placement:
            graph.replace(node.results[0], node.operands[0])
            changed = True
    return changed


def _moves(graph: Graph, node: Node) -> int:
    """The bytes that a reshard moves."""
    have, want = graph.tensor(node.operands[0]), graph.tensor(node.results[0])
    return exchanged_bytes(have.nbytes, have.placement, want.placement, graph.devices)


def merge_equal(graph: Graph) -> bool:
    """Let equal ops on equal operands be one node."""
    seen: dict[tuple[Op, tuple[Value, ...]], tuple[Value, ...]] = {}
    changed = False
    for old in graph.topo():
        node = graph.node(old.id)
        if isinstance(node.op, Source):
            continue
        first = seen.setdefault((node.op, node.operands), node.results)
        if first != node.results:
            for duplicate, value in zip(node.results, first, strict=True):
                graph.replace(duplicate, value)
            changed = True
    return changed


def remove_dead(graph: Graph) -> bool:
    """Erase the nodes that no output and no update depends on. A state that is written stays, if nothing
    reads it here: its value outlives the run."""
    needed = {value.node for value in graph.roots()}
    needed |= {state.read.node for state in graph.states.values() if state.update is not None}
    dead = []
    for node in reversed(graph.topo()):
        if node.id in needed:
            needed |= {v.node for v in node.operands}
        else:
            dead.append(node)
    # Readers come before what they read, so each has lost its users when its turn comes.
    for node in dead:
        graph.erase(node)
    return bool(dead)
