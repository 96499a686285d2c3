"""Adds the gradient of the loss for every parameter: reverse mode, one op's rule after the other.

Before:  %conv1 = conv(%image, %conv1.weight)
         output loss = %loss
After:   %conv1.grad_weight = conv_grad_weight(%relu1.grad_input, %image) {size = 11}
         output loss = %loss
         output conv1.weight.grad = %conv1.grad_weight

A gradient is placed dually to its value (`ir.types.dual`); a parameter's is brought to the parameter's own placement,
for the update. So communication needs no rule of its own here: it is the gradient of the forward reshards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alexnet_ir.ir.graph import Builder, Graph, Node, Value
from alexnet_ir.ir.names import LOSS, gradient
from alexnet_ir.ir.types import Placement, dual
from alexnet_ir.ops.elementwise import Add
from alexnet_ir.ops.placing import Reshard, exchange
from alexnet_ir.ops.shape import Fill
from alexnet_ir.passes.base import Pass


@dataclass(frozen=True)
class Backward(Pass):
    """Gradients flow only where a parameter lies behind; each becomes an output, which `update` consumes."""

    name: ClassVar[str] = "backward"

    def run(self, graph: Graph) -> bool:
        nodes = graph.topo()
        parameters = {s.read: s.name for s in graph.states.values() if s.role == "parameter"}
        leads_to_parameter = _reached(nodes, {v.node for v in parameters})
        loss = graph.outputs[LOSS]
        start = Fill(1.0, (), str(_dual(graph, loss)))
        grads = {loss: graph.emit(start, name=f"{LOSS}.grad", span=graph.node(loss).span)}
        for node in reversed(nodes):
            grad = grads.get(node.results[0])
            if grad is None or node.id not in leads_to_parameter or not node.operands:
                continue
            build = Builder(graph, node)
            for operand, part in zip(node.operands, node.op.gradient(build, node, grad), strict=True):
                if part is not None and operand.node in leads_to_parameter:
                    part = _placed(graph, operand, part, _dual(graph, operand))
                    grads[operand] = _sum(graph, operand, grads.get(operand), part)
        for value, name in parameters.items():
            if value in grads:
                own = graph.tensor(value).placement
                graph.outputs[gradient(name)] = _placed(graph, value, grads[value], own)
        return True


def _reached(nodes: list[Node], start: set[int]) -> set[int]:
    """The nodes that depend on those in `start`, and these."""
    reached = set(start)
    for node in nodes:
        if any(v.node in reached for v in node.operands):
            reached.add(node.id)
    return reached


def _dual(graph: Graph, value: Value) -> Placement:
    """Where the gradient of a value has to be; one device has all of both."""
    placement = graph.tensor(value).placement
    return dual(placement) if graph.devices > 1 else placement


def _placed(graph: Graph, value: Value, grad: Value, placement: Placement) -> Value:
    """A part of the gradient of `value`, where it has to be."""
    have = graph.tensor(grad).placement
    if have == placement:
        return grad
    name = f"{graph.value_name(value)}.grad.{exchange(have, placement)}"
    return graph.emit(Reshard(str(placement)), grad, name=name, span=graph.node(value).span)


def _sum(graph: Graph, value: Value, known: Value | None, part: Value) -> Value:
    """The gradient of a value so far, and one more part of it."""
    if known is None:
        return part
    node = graph.node(value)
    return graph.emit(Add(), known, part, name=f"{graph.value_name(value)}.grad", span=node.span)
