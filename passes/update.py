"""Adds the update of every parameter that has a gradient.

Before:  output conv1.weight.grad = %conv1.grad_weight
After:   input %train.lr : f32[]                          (and the other rates, and each parameter's factors)
         state %conv1.weight.velocity : f32[...] = constant(value = 0.0) {role = "slot"}
         %conv1.weight.next, ... = sgd(%conv1.weight, %conv1.weight.velocity, %conv1.grad_weight, %train.lr, ...)
         update %conv1.weight = %conv1.weight.next
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alexnet_ir.diagnostics import Span
from alexnet_ir.ir.graph import Graph, State, Value
from alexnet_ir.ir.initial import Constant
from alexnet_ir.ir.names import STEP, factor, gradient, rate
from alexnet_ir.ir.types import SCALAR, TensorType
from alexnet_ir.ops.update import Sgd, UpdateOp
from alexnet_ir.passes.base import Pass


@dataclass(frozen=True)
class Update(Pass):
    """One update rule for all parameters; rates and factors are inputs. `span` is the recipe's, which rates serve."""

    name: ClassVar[str] = "update"
    op: UpdateOp = Sgd()
    span: Span | None = None

    def run(self, graph: Graph) -> bool:
        trained = [s for s in graph.states.values() if gradient(s.name) in graph.outputs]
        rates = {name: self._rate(graph, name) for name in self.op.rates()}
        for state in trained:
            self._update(graph, state, rates)
        return bool(trained)

    def _rate(self, graph: Graph, name: str) -> Value:
        type_ = TensorType("i64", ()) if rate(name) == STEP else SCALAR
        return graph.inputs.get(rate(name)) or graph.input(rate(name), type_, span=self.span)

    def _update(self, graph: Graph, state: State, rates: dict[str, Value]) -> None:
        span, type_ = graph.node(state.read).span, graph.tensor(state.read)
        values = dict(rates)
        values["parameter"] = state.read
        values["gradient"] = graph.outputs.pop(gradient(state.name))
        for name, default in (("lr_mult", state.lr_mult), ("decay_mult", state.decay_mult)):
            values[name] = graph.input(factor(state.name, name), SCALAR, default=default, span=span)
        for slot in self.op.slots():
            values[slot] = graph.state(f"{state.name}.{slot}", type_, Constant(0), role="slot", span=span)
        operands = [values[name] for name in self.op.operands]
        new, *slots = graph.emit_all(self.op, *operands, name=f"{state.name}.next", span=span)
        graph.set_update(state.name, new)
        for slot, value in zip(self.op.slots(), slots, strict=True):
            graph.set_update(f"{state.name}.{slot}", value)
