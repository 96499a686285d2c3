"""Turns the forward graph into the one that evaluates.

Before:  %drop6 = dropout(%relu6, %train.seed, %train.step) {p = 0.5}
         %bn1, %bn1.mean, %bn1.variance = batchnorm(%conv1, %bn1.weight, %bn1.bias)
         output score = %fc8                output score.2 = %head
         update %bn1.running_mean = %bn1.running_mean.next
After:   %drop6.scaled = scale(%relu6) {factor = 0.5}
         %bn1.inference = batchnorm_inference(%conv1, %bn1.weight, %bn1.bias, %bn1.running_mean, %bn1.running_var)
         output score = %fc8
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.names import SCORE
from alexnet_ir.ops.batchnorm import BatchNorm, BatchNormInference, RunningAverage
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import Scale
from alexnet_ir.passes.base import Pass


@dataclass(frozen=True)
class Specialise(Pass):
    """Dropout becomes a factor, batch normalisation uses its running statistics, training-only results go, and no state
    changes. What nothing reads any more is left to `cleanup`. `fetch` names further outputs, each with the node of the
    forward graph whose value it is."""

    name: ClassVar[str] = "specialise"
    fetch: Mapping[str, str] = field(default_factory=dict)

    def run(self, graph: Graph) -> bool:
        # Before anything is replaced: what takes a value's place takes it as an output too.
        graph.outputs |= {output: graph.named(value) for output, value in self.fetch.items()}
        for old in graph.topo():
            node = graph.node(old.id)  # anew: what it reads may have been replaced since
            if isinstance(node.op, Dropout):
                _drop_nothing(graph, node, node.op)
            elif isinstance(node.op, BatchNorm):
                _use_running_statistics(graph, node, node.op)
        for name in graph.states:
            graph.set_update(name, None)
        graph.outputs = {name: graph.outputs[name] for name in (SCORE, *self.fetch)}
        return True


def _drop_nothing(graph: Graph, node: Node, op: Dropout) -> None:
    kept = node.operands[0]
    if op.scale == "test":
        kept = graph.emit(Scale(1 - op.p), kept, name=f"{node.name}.scaled", span=node.span)
    graph.replace(node.results[0], kept)


def _use_running_statistics(graph: Graph, node: Node, op: BatchNorm) -> None:
    running = [_running(graph, statistic) for statistic in node.results[1:]]
    operands = (*node.operands, *running)
    name = f"{node.name}.inference"
    graph.replace(node.results[0], graph.emit(BatchNormInference(op.eps), *operands, name=name, span=node.span))


def _running(graph: Graph, statistic: Value) -> Value:
    (average,) = [user for user in graph.users(statistic) if isinstance(user.op, RunningAverage)]
    return average.operands[0]
