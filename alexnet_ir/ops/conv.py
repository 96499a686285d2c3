"""Convolution (cross-correlation, as in every CNN library), with groups, and its two gradients. No bias inside: see
`bias_add`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from alexnet_ir.ir.attributes import COUNT, PADS, PAIR, Pads, Pair, attribute
from alexnet_ir.ir.graph import Builder, Node, Value
from alexnet_ir.ir.op import Array, Op, Strategy, TypeRuleError
from alexnet_ir.ir.types import CHANNELS, TensorType, f32
from alexnet_ir.ops.dense import product, product_grad_input, product_grad_weight
from alexnet_ir.ops.rules import want_groups, want_map, want_rank, want_shape
from alexnet_ir.ops.window import ROUND, Windows, windows


@dataclass(frozen=True)
class ConvAttributes(Op):
    """What convolution and its gradients share."""

    stride: Pair = attribute(PAIR, 1)
    pad: Pads = attribute(PADS, 0)
    groups: int = attribute(COUNT, 1)
    dilation: Pair = attribute(PAIR, 1)
    round: str = attribute(ROUND, "exact")

    def windows(self, maps: TensorType | Pair, size: Pair) -> Windows:
        """The windows of kernels of this size over these maps."""
        return windows(maps, size, self.stride, self.pad, self.dilation, self.round)

    def grouped(self, array: Array, axis: int) -> Array:
        """`axis` as two, (groups, share of a group)."""
        shape = array.shape
        return array.reshape(*shape[:axis], self.groups, shape[axis] // self.groups, *shape[axis + 1 :])

    def ungrouped(self, array: Array, axis: int) -> Array:
        """The inverse of `grouped`."""
        shape = array.shape
        return array.reshape(*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])

    def shard(self, operands: Sequence[TensorType], device: int, devices: int) -> Op:
        """By groups, a device has its share of them."""
        if self.groups > 1 and operands[0].placement == CHANNELS:
            return replace(self, groups=self.groups // devices)
        return self


@dataclass(frozen=True)
class Conv(ConvAttributes):
    """input [n, c, h, w], weight [kernels, c / groups, rows, columns] -> [n, kernels, oh, ow]."""

    name: ClassVar[str] = "conv"
    operands: ClassVar[tuple[str, ...]] = ("input", "weight")

    def type_rule(self, input: TensorType, weight: TensorType) -> TensorType:
        want_map(self.name, input)
        want_rank(self.name, "a weight", weight, 4)
        want_groups(self.name, "channels", input.shape[1], self.groups)
        kernels, channels, *size = weight.shape
        want_groups(self.name, "kernels", kernels, self.groups)
        if channels * self.groups != input.shape[1]:
            raise TypeRuleError("S004", f"`conv`: kernels over {channels * self.groups} channels, not {input.shape[1]}")
        return f32(input.shape[0], kernels, *self.windows(input, (size[0], size[1])).output)

    def reference(self, input: Array, weight: Array) -> Array:
        over = self.windows(input.shape[-2:], weight.shape[-2:])
        maps, kernels = self.grouped(over.padded(input), 1), self.grouped(weight, 0)
        out = sum(
            np.einsum("ngcyx,gkc->ngkyx", tap, kernels[..., i, j], optimize=True) for i, j, tap in over.taps(maps)
        )
        return self.ungrouped(np.asarray(out), 1)

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        input, weight = node.operands
        shared = (self.stride, self.pad, self.groups, self.dilation, self.round)
        rows, columns = build.type(input).shape[2:]
        size = build.type(weight).shape[2:]
        to_input = ConvGradInput(*shared, input_size=(rows, columns))
        to_weight = ConvGradWeight(*shared, size=(size[0], size[1]))
        return (
            build.emit(to_input, grads[0], weight, name="grad_input"),
            build.emit(to_weight, grads[0], input, name="grad_weight"),
        )

    def macs(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> int:
        return results[0].size * (operands[1].size // operands[1].shape[0])

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from product(self.groups, devices)


@dataclass(frozen=True)
class ConvGradInput(ConvAttributes):
    """grad_output [n, kernels, oh, ow], weight -> the gradient of an input of `input_size`."""

    name: ClassVar[str] = "conv_grad_input"
    operands: ClassVar[tuple[str, ...]] = ("grad_output", "weight")
    input_size: Pair = attribute(PAIR, kw_only=True)

    def type_rule(self, grad_output: TensorType, weight: TensorType) -> TensorType:
        want_rank(self.name, "a gradient", grad_output, 4)
        want_rank(self.name, "a weight", weight, 4)
        kernels, _, rows, columns = weight.shape
        want_groups(self.name, "kernels", kernels, self.groups)
        output = self.windows(self.input_size, (rows, columns)).output
        want_shape(self.name, "a gradient", grad_output, (grad_output.shape[0], kernels, *output))
        return f32(grad_output.shape[0], weight.shape[1] * self.groups, *self.input_size)

    def reference(self, grad_output: Array, weight: Array) -> Array:
        over = self.windows(self.input_size, weight.shape[-2:])
        grads, kernels = self.grouped(grad_output, 1), self.grouped(weight, 0)
        maps = (grad_output.shape[0], self.groups, weight.shape[1], *self.input_size)
        padded = over.padded(np.zeros(maps, grad_output.dtype))
        for i, j, tap in over.taps(padded):
            tap += np.einsum("ngkyx,gkc->ngcyx", grads, kernels[..., i, j], optimize=True)
        return np.ascontiguousarray(self.ungrouped(over.cropped(padded), 1))

    def macs(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> int:
        return operands[0].size * (operands[1].size // operands[1].shape[0])

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from product_grad_input(self.groups, devices)


@dataclass(frozen=True)
class WeightGrad(ConvAttributes):
    """What the gradients of tied and untied weights of `size` share."""

    operands: ClassVar[tuple[str, ...]] = ("grad_output", "input")
    size: Pair = attribute(PAIR, kw_only=True)

    def check_gradient(self, grad_output: TensorType, input: TensorType) -> None:
        """Refuse a gradient of another shape than what kernels of `size` make of the input."""
        want_map(self.name, input)
        want_rank(self.name, "a gradient", grad_output, 4)
        kernels = grad_output.shape[1]
        want_groups(self.name, "channels", input.shape[1], self.groups)
        want_groups(self.name, "kernels", kernels, self.groups)
        output = self.windows(input, self.size).output
        want_shape(self.name, "a gradient", grad_output, (input.shape[0], kernels, *output))

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from product_grad_weight(self.groups, devices)


@dataclass(frozen=True)
class ConvGradWeight(WeightGrad):
    """grad_output [n, kernels, oh, ow], input -> the gradient of kernels of `size`."""

    name: ClassVar[str] = "conv_grad_weight"

    def type_rule(self, grad_output: TensorType, input: TensorType) -> TensorType:
        self.check_gradient(grad_output, input)
        return f32(grad_output.shape[1], input.shape[1] // self.groups, *self.size)

    def reference(self, grad_output: Array, input: Array) -> Array:
        over = self.windows(input.shape[-2:], self.size)
        grads, maps = self.grouped(grad_output, 1), self.grouped(over.padded(input), 1)
        shape = (self.groups, grads.shape[2], maps.shape[2], *self.size)
        out = np.empty(shape, grad_output.dtype)
        for i, j, tap in over.taps(maps):
            out[..., i, j] = np.einsum("ngkyx,ngcyx->gkc", grads, tap, optimize=True)
        return self.ungrouped(out, 0)

    def macs(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> int:
        return operands[0].size * (results[0].size // results[0].shape[0])
