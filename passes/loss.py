"""Adds the labels and the loss.

Before:  output score = %fc8                  output score.2 = %head.fc
After:   input %train.label : i32[128]
         %score.loss, ... = softmax_cross_entropy(%fc8, %train.label)
         %score.2.loss, ... = softmax_cross_entropy(%head.fc, %train.label)
         %score.2.weighted = scale(%score.2.loss) {factor = 0.3}
         %loss = add(%score.loss, %score.2.weighted)
         output score = %fc8                  output loss = %loss
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alexnet_ir.diagnostics import Span
from alexnet_ir.ir.graph import Graph, Value
from alexnet_ir.ir.names import LABEL, LOSS, SCORE
from alexnet_ir.ir.types import TensorType
from alexnet_ir.ops.elementwise import Add, Scale
from alexnet_ir.ops.loss import LossOp, SoftmaxCrossEntropy
from alexnet_ir.passes.base import Pass


@dataclass(frozen=True)
class Loss(Pass):
    """A weighted sum of one loss for each result of the net; without weights, each counts once. `span` is the recipe's,
    which the labels serve."""

    name: ClassVar[str] = "loss"
    op: LossOp = SoftmaxCrossEntropy()
    weights: tuple[float, ...] | None = None
    span: Span | None = None

    def run(self, graph: Graph) -> bool:
        scores = dict(graph.outputs)
        batch = graph.tensor(next(iter(scores.values()))).shape[0]
        label = graph.input(LABEL, TensorType("i32", (batch,)), span=self.span)
        weights = self.weights or (1.0,) * len(scores)
        total: Value | None = None
        for (name, score), weight in zip(scores.items(), weights, strict=True):
            span = graph.node(score).span
            term = graph.emit(self.op, score, label, name=f"{name}.loss", span=span)
            if weight != 1:
                term = graph.emit(Scale(weight), term, name=f"{name}.weighted", span=span)
            total = term if total is None else graph.emit(Add(), total, term, name="loss", span=span)
        assert total is not None
        graph.outputs = {SCORE: scores[SCORE], LOSS: total}
        return True
