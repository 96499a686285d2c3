"""Fully connected layers and biases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alexnet_ir.ir.attributes import FLAG, attribute
from alexnet_ir.ir.graph import Builder, Node, Value
from alexnet_ir.ir.op import Array, Op, Strategy, TypeRuleError
from alexnet_ir.ir.types import BATCH, CHANNELS, PARTIAL, REPLICATED, TensorType, f32
from alexnet_ir.ops.rules import want_rank, want_shape, want_vector


def product(groups: int, devices: int) -> Iterator[Strategy]:
    """Ways to share out a product of an input and a weight [outputs, inputs / groups, ...]: by images; by outputs, each
    device reading all of the input, or its own groups of it; by inputs, which makes a sum to be added up."""
    yield Strategy((BATCH, REPLICATED), (BATCH,))
    if groups == 1:
        yield Strategy((REPLICATED, BATCH), (CHANNELS,))
        yield Strategy((CHANNELS, CHANNELS), (PARTIAL,))
    elif groups % devices == 0:
        yield Strategy((CHANNELS, BATCH), (CHANNELS,))


def product_grad_input(groups: int, devices: int) -> Iterator[Strategy]:
    """The same for grad_output and weight: all placements of `product`, the other way round and dual."""
    yield Strategy((BATCH, REPLICATED), (BATCH,))
    yield Strategy((PARTIAL, REPLICATED), (PARTIAL,))
    if groups == 1:
        yield Strategy((CHANNELS, BATCH), (PARTIAL,))
        yield Strategy((REPLICATED, CHANNELS), (CHANNELS,))
    elif groups % devices == 0:
        yield Strategy((CHANNELS, BATCH), (CHANNELS,))


def product_grad_weight(groups: int, devices: int) -> Iterator[Strategy]:
    """The same for grad_output and input."""
    yield Strategy((BATCH, BATCH), (PARTIAL,))
    yield Strategy((PARTIAL, REPLICATED), (PARTIAL,))
    if groups == 1:
        yield Strategy((CHANNELS, REPLICATED), (BATCH,))
        yield Strategy((REPLICATED, CHANNELS), (CHANNELS,))
    elif groups % devices == 0:
        yield Strategy((CHANNELS, CHANNELS), (BATCH,))


@dataclass(frozen=True)
class Fc(Op):
    """input [n, c], weight [units, c] -> input weight^T [n, units]."""

    name: ClassVar[str] = "fc"
    operands: ClassVar[tuple[str, ...]] = ("input", "weight")

    def type_rule(self, input: TensorType, weight: TensorType) -> TensorType:
        want_vector(self.name, input)
        want_rank(self.name, "a weight", weight, 2)
        if weight.shape[1] != input.shape[1]:
            raise TypeRuleError("S004", f"`fc`: weights over {weight.shape[1]} inputs, not {input.shape[1]}")
        return f32(input.shape[0], weight.shape[0])

    def reference(self, input: Array, weight: Array) -> Array:
        return input @ weight.T

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        input, weight = node.operands
        return (
            build.emit(FcGradInput(), grads[0], weight, name="grad_input"),
            build.emit(FcGradWeight(), grads[0], input, name="grad_weight"),
        )

    def macs(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> int:
        return operands[0].shape[0] * operands[1].size

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from product(1, devices)


@dataclass(frozen=True)
class FcGradInput(Op):
    """grad_output [n, units], weight [units, c] -> grad_output weight [n, c]."""

    name: ClassVar[str] = "fc_grad_input"
    operands: ClassVar[tuple[str, ...]] = ("grad_output", "weight")

    def type_rule(self, grad_output: TensorType, weight: TensorType) -> TensorType:
        want_rank(self.name, "a weight", weight, 2)
        want_shape(self.name, "a gradient", grad_output, (*grad_output.shape[:1], weight.shape[0]))
        return f32(grad_output.shape[0], weight.shape[1])

    def reference(self, grad_output: Array, weight: Array) -> Array:
        return grad_output @ weight

    def macs(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> int:
        return operands[0].shape[0] * operands[1].size

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from product_grad_input(1, devices)


@dataclass(frozen=True)
class FcGradWeight(Op):
    """grad_output [n, units], input [n, c] -> grad_output^T input [units, c]."""

    name: ClassVar[str] = "fc_grad_weight"
    operands: ClassVar[tuple[str, ...]] = ("grad_output", "input")

    def type_rule(self, grad_output: TensorType, input: TensorType) -> TensorType:
        want_rank(self.name, "a gradient", grad_output, 2)
        want_rank(self.name, "an input", input, 2)
        want_shape(self.name, "an input", input, (grad_output.shape[0], input.shape[1]))
        return f32(grad_output.shape[1], input.shape[1])

    def reference(self, grad_output: Array, input: Array) -> Array:
        return grad_output.T @ input

    def macs(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> int:
        return operands[0].shape[0] * results[0].size

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from product_grad_weight(1, devices)


@dataclass(frozen=True)
class BiasAdd(Op):
    """input [n, c, ...] plus a bias of shape [c] (one a channel) or of the whole sample (one a position)."""

    name: ClassVar[str] = "bias_add"
    operands: ClassVar[tuple[str, ...]] = ("input", "bias")

    def type_rule(self, input: TensorType, bias: TensorType) -> TensorType:
        if bias.shape not in (input.shape[1:2], input.shape[1:]):
            raise TypeRuleError("S004", f"`bias_add`: a bias of shape {bias.shape} does not fit {input}")
        return f32(*input.shape)

    def reference(self, input: Array, bias: Array) -> Array:
        return input + bias.reshape(bias.shape + (1,) * (input.ndim - 1 - bias.ndim))

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        per_channel = len(build.type(node.operands[1]).shape) == 1
        return grads[0], build.emit(BiasGrad(per_channel), grads[0], name="grad_bias")

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield Strategy((BATCH, REPLICATED), (BATCH,))
        yield Strategy((CHANNELS, BATCH), (CHANNELS,))
        yield Strategy((PARTIAL, PARTIAL), (PARTIAL,))


@dataclass(frozen=True)
class BiasGrad(Op):
    """grad_output [n, c, ...] summed over all but the channel, or over the batch alone."""

    name: ClassVar[str] = "bias_grad"
    operands: ClassVar[tuple[str, ...]] = ("grad_output",)
    per_channel: bool = attribute(FLAG, True)

    def type_rule(self, grad_output: TensorType) -> TensorType:
        want_rank(self.name, "a gradient", grad_output, 2, 4)
        return f32(*(grad_output.shape[1:2] if self.per_channel else grad_output.shape[1:]))

    def reference(self, grad_output: Array) -> Array:
        axes = (0, *range(2, grad_output.ndim)) if self.per_channel else (0,)
        return np.asarray(grad_output.sum(axis=axes))

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield Strategy((BATCH,), (PARTIAL,))
        yield Strategy((CHANNELS,), (BATCH,))
        yield Strategy((PARTIAL,), (PARTIAL,))
