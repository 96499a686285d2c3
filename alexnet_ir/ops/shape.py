"""Ops that move elements and compute nothing; all in channels-first order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alexnet_ir.ir.attributes import REAL, SHAPE, WHOLE, attribute
from alexnet_ir.ir.graph import Builder, Node, Value
from alexnet_ir.ir.op import Array, Op, TypeRuleError
from alexnet_ir.ir.types import TensorType, f32, sample_text
from alexnet_ir.ops.rules import want_rank


@dataclass(frozen=True)
class Flatten(Op):
    """input [n, c, h, w] -> [n, c h w]; a vector stays as it is."""

    name: ClassVar[str] = "flatten"
    flops_per_element: ClassVar[int] = 0

    def type_rule(self, input: TensorType) -> TensorType:
        want_rank(self.name, "an input", input, 1, 4)
        return f32(input.shape[0], math.prod(input.shape[1:]))

    def reference(self, input: Array) -> Array:
        return input.reshape(len(input), -1)

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        shape = build.type(node.operands[0]).shape[1:]
        return (build.emit(Unflatten(shape), grads[0], name="grad_input"),)


@dataclass(frozen=True)
class Unflatten(Op):
    """grad_output [n, ...] -> [n, *shape]."""

    name: ClassVar[str] = "unflatten"
    flops_per_element: ClassVar[int] = 0
    shape: tuple[int, ...] = attribute(SHAPE)

    def type_rule(self, input: TensorType) -> TensorType:
        want_rank(self.name, "an input", input, 1, 4)
        if math.prod(input.shape[1:]) != math.prod(self.shape):
            raise TypeRuleError("S004", f"`unflatten`: {input} does not hold {self.shape}")
        return f32(input.shape[0], *self.shape)

    def reference(self, input: Array) -> Array:
        return input.reshape(len(input), *self.shape)


@dataclass(frozen=True)
class Concat(Op):
    """Values that differ only in their channels, one after another along them."""

    name: ClassVar[str] = "concat"
    operands: ClassVar[tuple[str, ...]] = ("input...",)
    flops_per_element: ClassVar[int] = 0

    def type_rule(self, *inputs: TensorType) -> TensorType:
        want_rank(self.name, "an input", inputs[0], 2, 4)
        first = inputs[0].shape
        for position, other in enumerate(inputs[1:], 2):
            if (*other.shape[:1], *other.shape[2:]) != (first[0], *first[2:]):
                raise TypeRuleError(
                    "S017",
                    f"`concat` joins channels, so all else must agree: value 1 is {sample_text(inputs[0])}, "
                    f"value {position} is {sample_text(other)}",
                    label=", ".join(sample_text(i) for i in inputs),
                    helps=["give every branch the same stride, and padding that keeps its size"],
                )
        return f32(first[0], sum(i.shape[1] for i in inputs), *first[2:])

    def reference(self, *inputs: Array) -> Array:
        return np.concatenate(inputs, axis=1)

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        out, start = [], 0
        for position, operand in enumerate(node.operands, 1):
            stop = start + build.type(operand).shape[1]
            out.append(build.emit(SliceChannels(start, stop), grads[0], name=f"grad_input{position}"))
            start = stop
        return tuple(out)


@dataclass(frozen=True)
class SliceChannels(Op):
    """Channels `start` up to `stop`."""

    name: ClassVar[str] = "slice_channels"
    flops_per_element: ClassVar[int] = 0
    start: int = attribute(WHOLE)
    stop: int = attribute(WHOLE)

    def type_rule(self, input: TensorType) -> TensorType:
        want_rank(self.name, "an input", input, 2, 4)
        if not self.start < self.stop <= input.shape[1]:
            raise TypeRuleError("S004", f"`slice_channels`: {input} has no channels {self.start} to {self.stop}")
        return f32(input.shape[0], self.stop - self.start, *input.shape[2:])

    def reference(self, input: Array) -> Array:
        return np.ascontiguousarray(input[:, self.start : self.stop])


@dataclass(frozen=True)
class Fill(Op):
    """A constant tensor: the gradient that backward starts from, or zeros where nothing comes back."""

    name: ClassVar[str] = "fill"
    operands: ClassVar[tuple[str, ...]] = ()
    flops_per_element: ClassVar[int] = 0
    value: float = attribute(REAL)
    shape: tuple[int, ...] = attribute(SHAPE, ())

    def type_rule(self, *operands: TensorType) -> TensorType:
        return f32(*self.shape)

    def reference(self, *arrays: Array) -> Array:
        return np.full(self.shape, self.value)
