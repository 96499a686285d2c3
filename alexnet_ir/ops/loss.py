"""Losses: a mean over the batch of scores [n, classes] against labels [n], and their gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alexnet_ir.ir.graph import Builder, Node, Value
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import SCALAR, TensorType, f32
from alexnet_ir.ops.rules import want_dtype, want_shape, want_vector


@dataclass(frozen=True)
class LossOp(Op):
    """scores, label -> a scalar and what its gradient reads."""

    operands: ClassVar[tuple[str, ...]] = ("scores", "label")

    def type_rule(self, scores: TensorType, label: TensorType) -> tuple[TensorType, ...]:
        want_vector(self.name, scores)
        want_shape(self.name, "labels", label, scores.shape[:1])
        want_dtype(self.name, "labels", label, "i32")
        return SCALAR, f32(*scores.shape)


@dataclass(frozen=True)
class LossGrad(Op):
    """The gradient of a mean loss: each sample's own, times grad_output / n."""

    def type_rule(self, grad_output: TensorType, kept: TensorType, *labels: TensorType) -> TensorType:
        want_vector(self.name, kept)
        want_shape(self.name, "a gradient", grad_output, ())
        for label in labels:
            want_shape(self.name, "labels", label, kept.shape[:1])
        return f32(*kept.shape)


@dataclass(frozen=True)
class SoftmaxCrossEntropy(LossOp):
    """Mean of -log softmax(scores)[label], and the softmax."""

    name: ClassVar[str] = "softmax_cross_entropy"
    results: ClassVar[tuple[str, ...]] = ("", "softmax")
    flops_per_element: ClassVar[int] = 10

    def reference(self, scores: Array, label: Array) -> tuple[Array, ...]:
        shifted = scores - scores.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        picked = (shifted - log_sum)[np.arange(len(label)), label]
        return -picked.mean(), np.exp(shifted - log_sum)

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        op = SoftmaxCrossEntropyGrad()
        return build.emit(op, grads[0], node.results[1], node.operands[1], name="grad_input"), None


@dataclass(frozen=True)
class SoftmaxCrossEntropyGrad(LossGrad):
    """grad_output (softmax - one_hot(label)) / n."""

    name: ClassVar[str] = "softmax_cross_entropy_grad"
    operands: ClassVar[tuple[str, ...]] = ("grad_output", "softmax", "label")

    def reference(self, grad_output: Array, softmax: Array, label: Array) -> Array:
        out = softmax.copy()
        out[np.arange(len(label)), label] -= 1
        return out * (grad_output / len(label))


@dataclass(frozen=True)
class Hinge(LossOp):
    """Mean of the sum over the wrong classes j of max(0, 1 + scores[j] - scores[label]), and each margin's gradient
    (Weston and Watkins 1999; torch's MultiMarginLoss times the number of classes)."""

    name: ClassVar[str] = "hinge"
    results: ClassVar[tuple[str, ...]] = ("", "slopes")
    flops_per_element: ClassVar[int] = 4

    def reference(self, scores: Array, label: Array) -> tuple[Array, ...]:
        rows = np.arange(len(label))
        margins = 1 + scores - scores[rows, label][:, None]
        margins[rows, label] = 0
        slopes = (margins > 0).astype(scores.dtype)
        loss = np.maximum(margins, 0).sum(axis=1).mean()
        slopes[rows, label] = -slopes.sum(axis=1)
        return loss, slopes

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        return build.emit(HingeGrad(), grads[0], node.results[1], name="grad_input"), None


@dataclass(frozen=True)
class HingeGrad(LossGrad):
    """grad_output slopes / n."""

    name: ClassVar[str] = "hinge_grad"
    operands: ClassVar[tuple[str, ...]] = ("grad_output", "slopes")

    def reference(self, grad_output: Array, slopes: Array) -> Array:
        return slopes * (grad_output / len(slopes))
