"""Ops that move elements and compute nothing; all in channels-first order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alexnet_ir.ir.attributes import REAL, SHAPE, TEXT, WHOLE, Kind, attribute
from alexnet_ir.ir.graph import Builder, Node, Value
from alexnet_ir.ir.op import Array, Op, Strategy, TypeRuleError
from alexnet_ir.ir.types import BATCH, CHANNELS, PARTIAL, On, TensorType, f32, placement_of, sample_text
from alexnet_ir.ops.rules import want_rank

PLACEMENT = Kind("replicated, partial, split(axis) or on(device)", lambda text: str(placement_of(text)))


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

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from (Strategy((p,), (p,)) for p in (BATCH, CHANNELS, PARTIAL))

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

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from (Strategy((p,), (p,)) for p in (BATCH, CHANNELS, PARTIAL))

    def shard(self, operands: Sequence[TensorType], device: int, devices: int) -> Op:
        if operands[0].placement != CHANNELS:
            return self
        return Unflatten((self.shape[0] // devices, *self.shape[1:]))


@dataclass(frozen=True)
class Concat(Op):
    """Values that differ only along `axis` (channels, in the language), one after another along it."""

    name: ClassVar[str] = "concat"
    operands: ClassVar[tuple[str, ...]] = ("input...",)
    flops_per_element: ClassVar[int] = 0
    axis: int = attribute(WHOLE, 1, hidden=True)

    def type_rule(self, *inputs: TensorType) -> TensorType:
        axis, first = self.axis, inputs[0].shape
        want_rank(self.name, "an input", inputs[0], axis + 1, 6)
        for position, other in enumerate(inputs[1:], 2):
            same_rank = len(other.shape) == len(first)
            if not same_rank or (*other.shape[:axis], *other.shape[axis + 1 :]) != (*first[:axis], *first[axis + 1 :]):
                raise TypeRuleError(
                    "S017",
                    f"`concat` joins channels, so all else must agree: value 1 is {sample_text(inputs[0])}, "
                    f"value {position} is {sample_text(other)}",
                    label=", ".join(sample_text(i) for i in inputs),
                    helps=["give every branch the same stride, and padding that keeps its size"],
                )
        joined = sum(i.shape[axis] for i in inputs)
        return TensorType(inputs[0].dtype, (*first[:axis], joined, *first[axis + 1 :]))

    def reference(self, *inputs: Array) -> Array:
        return np.concatenate(inputs, axis=self.axis)

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        out, start = [], 0
        for position, operand in enumerate(node.operands, 1):
            stop = start + build.type(operand).shape[self.axis]
            out.append(build.emit(Slice(start, stop, self.axis), grads[0], name=f"grad_input{position}"))
            start = stop
        return tuple(out)

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield Strategy((PARTIAL,) * len(operands), (PARTIAL,))
        if self.axis != 0:
            yield Strategy((BATCH,) * len(operands), (BATCH,))


@dataclass(frozen=True)
class Slice(Op):
    """Positions `start` up to `stop` along an axis: channels, where nothing else is said."""

    name: ClassVar[str] = "slice"
    flops_per_element: ClassVar[int] = 0
    start: int = attribute(WHOLE)
    stop: int = attribute(WHOLE)
    axis: int = attribute(WHOLE, 1)

    def type_rule(self, input: TensorType) -> TensorType:
        want_rank(self.name, "an input", input, self.axis + 1, 6)
        shape, axis = input.shape, self.axis
        if not self.start < self.stop <= shape[axis]:
            raise TypeRuleError("S004", f"`slice`: axis {axis} of {input} has no {self.start} to {self.stop}")
        return TensorType(input.dtype, (*shape[:axis], self.stop - self.start, *shape[axis + 1 :]))

    def reference(self, input: Array) -> Array:
        return np.ascontiguousarray(input[(slice(None),) * self.axis + (slice(self.start, self.stop),)])

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield Strategy((PARTIAL,), (PARTIAL,))
        if self.axis != 0:
            yield Strategy((BATCH,), (BATCH,))


@dataclass(frozen=True)
class Fill(Op):
    """A constant tensor: the gradient that backward starts from, or zeros where nothing comes back. A partial one is
    the value on device 0 and zero elsewhere."""

    name: ClassVar[str] = "fill"
    operands: ClassVar[tuple[str, ...]] = ()
    flops_per_element: ClassVar[int] = 0
    value: float = attribute(REAL)
    shape: tuple[int, ...] = attribute(SHAPE, ())
    placement: str = attribute(PLACEMENT, "replicated")

    def type_rule(self, *operands: TensorType) -> TensorType:
        return f32(*self.shape).at(placement_of(self.placement))

    def reference(self, *arrays: Array) -> Array:
        return np.full(self.shape, self.value)

    def local(self, device: int, devices: int) -> Fill:
        """What one device has of it."""
        whole = self.type_rule()
        zero = whole.placement == PARTIAL and device > 0
        return Fill(0.0 if zero else self.value, whole.local(devices), str(On(device)))


@dataclass(frozen=True)
class Copy(Op):
    """A value of one device on another: the one op that crosses devices. `kind` is the exchange it is a part of."""

    name: ClassVar[str] = "copy"
    flops_per_element: ClassVar[int] = 0
    to: int = attribute(WHOLE)
    kind: str = attribute(TEXT, "copy")

    def type_rule(self, input: TensorType) -> TensorType:
        return input

    def placed(
        self, operands: Sequence[TensorType], results: tuple[TensorType, ...], devices: int
    ) -> tuple[TensorType, ...]:
        (input,) = operands
        if not isinstance(input.placement, On) or input.placement == On(self.to) or self.to >= devices:
            raise TypeRuleError("S030", f"`copy` cannot take a value {input.placement} to {self.to} of {devices}")
        return (input.at(On(self.to)),)

    def reference(self, input: Array) -> Array:
        return input.copy()
