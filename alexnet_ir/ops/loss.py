"""Losses: a mean over the batch of scores [n, classes] against labels [n], and their gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from alexnet_ir.ir.attributes import WHOLE, attribute
from alexnet_ir.ir.graph import Builder, Node, Value
from alexnet_ir.ir.op import Array, Op, Strategy
from alexnet_ir.ir.types import BATCH, CHANNELS, PARTIAL, REPLICATED, SCALAR, TensorType, f32
from alexnet_ir.ops.placing import exchanged_bytes
from alexnet_ir.ops.rules import want_dtype, want_shape, want_vector


@dataclass(frozen=True)
class LossOp(Op):
    """scores, label -> a scalar and what its gradient reads. `count` is the number of samples that the mean is over, if
    those here are a share (0: they are all)."""

    operands: ClassVar[tuple[str, ...]] = ("scores", "label")
    count: int = attribute(WHOLE, 0, hidden=True)

    def type_rule(self, scores: TensorType, label: TensorType) -> tuple[TensorType, ...]:
        want_vector(self.name, scores)
        want_shape(self.name, "labels", label, scores.shape[:1])
        want_dtype(self.name, "labels", label, "i32")
        return SCALAR, f32(*scores.shape)

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield Strategy((BATCH, BATCH), (PARTIAL, BATCH))

    def shard(self, operands: Sequence[TensorType], device: int, devices: int) -> Op:
        """Its part of the mean over the whole batch."""
        return replace(self, count=operands[1].shape[0]) if operands[1].placement == BATCH else self


@dataclass(frozen=True)
class LossGrad(Op):
    """The gradient of a mean loss: each sample's own, times grad_output / n (`count`, as in the loss)."""

    count: int = attribute(WHOLE, 0, hidden=True)

    def type_rule(self, grad_output: TensorType, kept: TensorType, *labels: TensorType) -> TensorType:
        want_vector(self.name, kept)
        want_shape(self.name, "a gradient", grad_output, ())
        for label in labels:
            want_shape(self.name, "labels", label, kept.shape[:1])
        return f32(*kept.shape)

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        labels = len(operands) - 2
        yield Strategy((REPLICATED, BATCH, *[BATCH] * labels), (BATCH,))
        yield Strategy((REPLICATED, CHANNELS, *[REPLICATED] * labels), (CHANNELS,))
        yield Strategy((PARTIAL, REPLICATED, *[REPLICATED] * labels), (PARTIAL,))

    def shard(self, operands: Sequence[TensorType], device: int, devices: int) -> Op:
        """Its share of the gradient of the mean over the whole batch."""
        kept = operands[1]
        return replace(self, count=kept.shape[0]) if kept.placement == BATCH else self


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
        return -picked.sum() / (self.count or len(label)), np.exp(shifted - log_sum)

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from super().splits(operands, results, devices)
        exchanged = 2 * exchanged_bytes(4 * operands[0].shape[0], PARTIAL, REPLICATED, devices)
        yield Strategy((CHANNELS, REPLICATED), (PARTIAL, CHANNELS), exchanged)

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        op = SoftmaxCrossEntropyGrad(self.count)
        return build.emit(op, grads[0], node.results[1], node.operands[1], name="grad_input"), None


def own_classes(label: Array, first: int, classes: int) -> tuple[Array, Array]:
    """Of columns that are classes `first` to `first + classes`: the rows whose label is among them, and its column."""
    columns = label - first
    (rows,) = np.nonzero((columns >= 0) & (columns < classes))
    return rows, columns[rows]


@dataclass(frozen=True)
class SoftmaxCrossEntropyGrad(LossGrad):
    """grad_output (softmax - one_hot(label)) / n. `first` is the class of the first column, if they are a share."""

    name: ClassVar[str] = "softmax_cross_entropy_grad"
    operands: ClassVar[tuple[str, ...]] = ("grad_output", "softmax", "label")
    first: int = attribute(WHOLE, 0, hidden=True)

    def reference(self, grad_output: Array, softmax: Array, label: Array) -> Array:
        out = softmax.copy()
        rows, columns = own_classes(label, self.first, softmax.shape[1])
        out[rows, columns] -= 1
        return out * (grad_output / (self.count or len(label)))

    def shard(self, operands: Sequence[TensorType], device: int, devices: int) -> Op:
        softmax = operands[1]
        if softmax.placement == CHANNELS:
            return replace(self, first=device * softmax.shape[1] // devices)
        return super().shard(operands, device, devices)


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
        loss = np.maximum(margins, 0).sum() / (self.count or len(label))
        slopes[rows, label] = -slopes.sum(axis=1)
        return loss, slopes

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        return build.emit(HingeGrad(self.count), grads[0], node.results[1], name="grad_input"), None


@dataclass(frozen=True)
class HingeGrad(LossGrad):
    """grad_output slopes / n."""

    name: ClassVar[str] = "hinge_grad"
    operands: ClassVar[tuple[str, ...]] = ("grad_output", "slopes")

    def reference(self, grad_output: Array, slopes: Array) -> Array:
        return slopes * (grad_output / (self.count or len(slopes)))


# What a device runs of softmax_cross_entropy where the classes are shared out.


@dataclass(frozen=True)
class RowMax(Op):
    """scores [n, classes] -> the largest of each row [n]."""

    name: ClassVar[str] = "row_max"
    operands: ClassVar[tuple[str, ...]] = ("scores",)

    def type_rule(self, scores: TensorType) -> TensorType:
        want_vector(self.name, scores)
        return f32(scores.shape[0])

    def reference(self, scores: Array) -> Array:
        return np.asarray(scores.max(axis=1))


@dataclass(frozen=True)
class Maximum(Op):
    """The larger of two values of one shape, element by element; NaN comes through."""

    name: ClassVar[str] = "maximum"
    operands: ClassVar[tuple[str, ...]] = ("left", "right")

    def type_rule(self, left: TensorType, right: TensorType) -> TensorType:
        want_shape(self.name, "a value", right, left.shape)
        return f32(*left.shape)

    def reference(self, left: Array, right: Array) -> Array:
        return np.asarray(np.maximum(left, right))


@dataclass(frozen=True)
class RowExpSum(Op):
    """scores [n, classes], max [n] -> the sum of exp(scores - max) of each row [n]."""

    name: ClassVar[str] = "row_exp_sum"
    operands: ClassVar[tuple[str, ...]] = ("scores", "max")
    flops_per_element: ClassVar[int] = 10

    def type_rule(self, scores: TensorType, max: TensorType) -> TensorType:
        want_vector(self.name, scores)
        want_shape(self.name, "a number for each row", max, scores.shape[:1])
        return f32(scores.shape[0])

    def reference(self, scores: Array, max: Array) -> Array:
        return np.asarray(np.exp(scores - max[:, None]).sum(axis=1))


@dataclass(frozen=True)
class SoftmaxCrossEntropyShare(Op):
    """scores of the classes from `first` on, label, and of the whole rows the largest score and the sum of exp(score -
    largest) -> these classes' part of the mean loss, and their softmax."""

    name: ClassVar[str] = "softmax_cross_entropy_share"
    operands: ClassVar[tuple[str, ...]] = ("scores", "label", "max", "sum")
    results: ClassVar[tuple[str, ...]] = ("", "softmax")
    flops_per_element: ClassVar[int] = 10
    first: int = attribute(WHOLE)

    def type_rule(self, scores: TensorType, *rows: TensorType) -> tuple[TensorType, ...]:
        want_vector(self.name, scores)
        for name, row in zip(self.operands[1:], rows, strict=True):
            want_shape(self.name, name, row, scores.shape[:1])
        want_dtype(self.name, "labels", rows[0], "i32")
        return SCALAR, f32(*scores.shape)

    def reference(self, scores: Array, label: Array, max: Array, sum: Array) -> tuple[Array, ...]:
        logs = scores - max[:, None] - np.log(sum)[:, None]
        picked = logs[own_classes(label, self.first, scores.shape[1])]
        return -picked.sum() / len(label), np.exp(logs)
