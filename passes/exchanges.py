"""What a placed logical graph makes devices exchange: predicted from types alone, before anything is distributed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alexnet_ir.diagnostics import Span
from alexnet_ir.ir.graph import Graph, Node
from alexnet_ir.ir.names import layer_of
from alexnet_ir.ir.op import Source
from alexnet_ir.ir.plan import Program
from alexnet_ir.ops.normalize import Lrn, LrnGrad
from alexnet_ir.ops.placing import Reshard, exchange, exchanged_bytes
from alexnet_ir.ops.update import UpdateOp
from alexnet_ir.passes.recompute import forward

Phase = Literal["forward", "backward", "update"]
PHASES: tuple[Phase, ...] = ("forward", "backward", "update")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange: the layer whose need causes it, what it is called, when it happens, and its bytes over all devices.
    An `update` brings a parameter's gradient to where the parameter lies."""

    layer: str
    kind: str
    phase: Phase
    nbytes: int
    span: Span | None

    @property
    def line(self) -> int | None:
        """The line of the model file that it serves."""
        return self.span.line if self.span else None


def exchanges(graph: Graph) -> list[Exchange]:
    """The exchanges of a logical graph, in its order."""
    early, found = forward(graph), []
    for node in graph.topo():
        if graph.devices == 1 or isinstance(node.op, Source):
            continue
        kind, nbytes = _moved(graph, node)
        if nbytes:
            layer = layer_of(node.name)
            found.append(Exchange(layer, kind, _phase(graph, node, early), nbytes, node.span))
    return found


def emitted_bytes(program: Program) -> int:
    """What the transfers of a program move."""
    links = (step for step in program.steps if step.stream.is_link)
    return sum(program.types[step.operands[0]].nbytes for step in links)


def _moved(graph: Graph, node: Node) -> tuple[str, int]:
    """What a node's exchange is called, and its bytes; 0 where it has none."""
    operands, results = [graph.tensor(v) for v in node.operands], [graph.tensor(v) for v in node.results]
    if isinstance(node.op, Reshard):
        have, want = operands[0].placement, results[0].placement
        return exchange(have, want), exchanged_bytes(operands[0].nbytes, have, want, graph.devices)
    if not operands:
        return "", 0
    kind = "halo" if isinstance(node.op, Lrn | LrnGrad) else "all_reduce"
    return kind, node.op.strategy(operands, results, graph.devices).exchanged


def _phase(graph: Graph, node: Node, early: set[int]) -> Phase:
    if node.id in early:
        return "forward"
    readers = [user for value in node.results for user in graph.users(value)]
    return "update" if readers and all(isinstance(user.op, UpdateOp) for user in readers) else "backward"
