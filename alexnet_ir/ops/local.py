"""Locally connected layers: as a convolution, but with untied weights at every position (cuda-convnet's `local`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alexnet_ir.ir.attributes import PAIR, Pair, attribute
from alexnet_ir.ir.graph import Builder, Node, Value
from alexnet_ir.ir.op import Array, Strategy, TypeRuleError
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops.conv import ConvAttributes, WeightGrad
from alexnet_ir.ops.dense import product, product_grad_input
from alexnet_ir.ops.rules import want_groups, want_map, want_rank, want_shape


@dataclass(frozen=True)
class Local(ConvAttributes):
    """input [n, c, h, w], weight [kernels, c / groups, rows, columns, oh, ow] -> [n, kernels, oh, ow]."""

    name: ClassVar[str] = "local"
    operands: ClassVar[tuple[str, ...]] = ("input", "weight")

    def type_rule(self, input: TensorType, weight: TensorType) -> TensorType:
        want_map(self.name, input)
        want_rank(self.name, "a weight", weight, 6)
        want_groups(self.name, "channels", input.shape[1], self.groups)
        kernels, channels, rows, columns, *positions = weight.shape
        want_groups(self.name, "kernels", kernels, self.groups)
        output = self.windows(input, (rows, columns)).output
        if channels * self.groups != input.shape[1] or output != tuple(positions):
            raise TypeRuleError("S004", f"`local`: weights of shape {weight.shape} do not fit {input}")
        return f32(input.shape[0], kernels, *output)

    def reference(self, input: Array, weight: Array) -> Array:
        over = self.windows(input.shape[-2:], weight.shape[2:4])
        maps, kernels = self.grouped(over.padded(input), 1), self.grouped(weight, 0)
        out = sum(np.einsum("ngcyx,gkcyx->ngkyx", tap, kernels[:, :, :, i, j]) for i, j, tap in over.taps(maps))
        return self.ungrouped(np.asarray(out), 1)

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        input, weight = node.operands
        shared = (self.stride, self.pad, self.groups, self.dilation, self.round)
        rows, columns = build.type(input).shape[2:]
        size = build.type(weight).shape[2:4]
        to_input = LocalGradInput(*shared, input_size=(rows, columns))
        to_weight = LocalGradWeight(*shared, size=(size[0], size[1]))
        return (
            build.emit(to_input, grads[0], weight, name="grad_input"),
            build.emit(to_weight, grads[0], input, name="grad_weight"),
        )

    def macs(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> int:
        return operands[0].shape[0] * operands[1].size

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from product(self.groups, devices)


@dataclass(frozen=True)
class LocalGradInput(ConvAttributes):
    """grad_output [n, kernels, oh, ow], weight -> the gradient of an input of `input_size`."""

    name: ClassVar[str] = "local_grad_input"
    operands: ClassVar[tuple[str, ...]] = ("grad_output", "weight")
    input_size: Pair = attribute(PAIR, kw_only=True)

    def type_rule(self, grad_output: TensorType, weight: TensorType) -> TensorType:
        want_rank(self.name, "a gradient", grad_output, 4)
        want_rank(self.name, "a weight", weight, 6)
        kernels, channels, rows, columns = weight.shape[:4]
        want_groups(self.name, "kernels", kernels, self.groups)
        output = self.windows(self.input_size, (rows, columns)).output
        want_shape(self.name, "a weight", weight, (kernels, channels, rows, columns, *output))
        want_shape(self.name, "a gradient", grad_output, (grad_output.shape[0], kernels, *output))
        return f32(grad_output.shape[0], weight.shape[1] * self.groups, *self.input_size)

    def reference(self, grad_output: Array, weight: Array) -> Array:
        over = self.windows(self.input_size, weight.shape[2:4])
        grads, kernels = self.grouped(grad_output, 1), self.grouped(weight, 0)
        maps = (grad_output.shape[0], self.groups, weight.shape[1], *self.input_size)
        padded = over.padded(np.zeros(maps, grad_output.dtype))
        for i, j, tap in over.taps(padded):
            tap += np.einsum("ngkyx,gkcyx->ngcyx", grads, kernels[:, :, :, i, j])
        return np.ascontiguousarray(self.ungrouped(over.cropped(padded), 1))

    def macs(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> int:
        return operands[0].shape[0] * operands[1].size

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from product_grad_input(self.groups, devices)


@dataclass(frozen=True)
class LocalGradWeight(WeightGrad):
    """grad_output [n, kernels, oh, ow], input -> the gradient of untied weights of `size`."""

    name: ClassVar[str] = "local_grad_weight"

    def type_rule(self, grad_output: TensorType, input: TensorType) -> TensorType:
        self.check_gradient(grad_output, input)
        kernels, *positions = grad_output.shape[1:]
        return f32(kernels, input.shape[1] // self.groups, *self.size, *positions)

    def reference(self, grad_output: Array, input: Array) -> Array:
        over = self.windows(input.shape[-2:], self.size)
        grads, maps = self.grouped(grad_output, 1), self.grouped(over.padded(input), 1)
        shape = (self.groups, grads.shape[2], maps.shape[2], *self.size, *over.output)
        out = np.empty(shape, grad_output.dtype)
        for i, j, tap in over.taps(maps):
            out[:, :, :, i, j] = np.einsum("ngkyx,ngcyx->gkcyx", grads, tap)
        return self.ungrouped(out, 0)

    def macs(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> int:
        return operands[0].shape[0] * results[0].size
