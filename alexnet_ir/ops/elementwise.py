"""Ops on each element by itself, and their gradients. Where it can, a gradient reads the output and not the input, so
that an activation's input need not be kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alexnet_ir.ir.attributes import NON_NEGATIVE, REAL, attribute
from alexnet_ir.ir.graph import Builder, Node, Value
from alexnet_ir.ir.op import Array, Op, Strategy, TypeRuleError
from alexnet_ir.ir.types import BATCH, CHANNELS, PARTIAL, REPLICATED, TensorType, f32, sample_text


@dataclass(frozen=True)
class Elementwise(Op):
    """One operand, a result of its shape. A linear one can be of each part of a sum."""

    linear: ClassVar[bool] = False

    def type_rule(self, input: TensorType) -> TensorType:
        return f32(*input.shape)

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from (Strategy((p,), (p,)) for p in (BATCH, CHANNELS))
        if self.linear:
            yield Strategy((PARTIAL,), (PARTIAL,))


@dataclass(frozen=True)
class ElementwiseGrad(Op):
    """grad_output and a second operand of the same shape."""

    operands: ClassVar[tuple[str, ...]] = ("grad_output", "output")

    def type_rule(self, grad_output: TensorType, other: TensorType) -> TensorType:
        if grad_output.shape != other.shape:
            raise TypeRuleError("S004", f"`{self.name}`: {grad_output} and {other} differ in shape")
        return f32(*other.shape)

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from (Strategy((p, p), (p,)) for p in (BATCH, CHANNELS))
        yield Strategy((PARTIAL, REPLICATED), (PARTIAL,))


@dataclass(frozen=True)
class Identity(Elementwise):
    """The input itself."""

    name: ClassVar[str] = "identity"
    linear: ClassVar[bool] = True
    flops_per_element: ClassVar[int] = 0

    def reference(self, input: Array) -> Array:
        return input

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        return (grads[0],)


@dataclass(frozen=True)
class Relu(Elementwise):
    """max(x, 0), letting NaN through."""

    name: ClassVar[str] = "relu"

    def reference(self, input: Array) -> Array:
        return np.maximum(input, 0)

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        return (build.emit(ReluGrad(), grads[0], node.results[0], name="grad_input"),)


@dataclass(frozen=True)
class ReluGrad(ElementwiseGrad):
    """grad_output where the output is above 0."""

    name: ClassVar[str] = "relu_grad"

    def reference(self, grad_output: Array, output: Array) -> Array:
        return grad_output * (output > 0)


@dataclass(frozen=True)
class LeakyRelu(Elementwise):
    """x where x > 0, slope x elsewhere; the slope is not negative, so the output tells on which side it was."""

    name: ClassVar[str] = "leaky_relu"
    slope: float = attribute(NON_NEGATIVE, 0.01)

    def reference(self, input: Array) -> Array:
        return np.where(input > 0, input, self.slope * input).astype(input.dtype)

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        return (build.emit(LeakyReluGrad(self.slope), grads[0], node.results[0], name="grad_input"),)


@dataclass(frozen=True)
class LeakyReluGrad(ElementwiseGrad):
    """grad_output times 1 or slope."""

    name: ClassVar[str] = "leaky_relu_grad"
    slope: float = attribute(NON_NEGATIVE, 0.01)

    def reference(self, grad_output: Array, output: Array) -> Array:
        return np.where(output > 0, grad_output, self.slope * grad_output).astype(grad_output.dtype)


@dataclass(frozen=True)
class Tanh(Elementwise):
    """Hyperbolic tangent."""

    name: ClassVar[str] = "tanh"
    flops_per_element: ClassVar[int] = 10

    def reference(self, input: Array) -> Array:
        return np.tanh(input)

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        return (build.emit(TanhGrad(), grads[0], node.results[0], name="grad_input"),)


@dataclass(frozen=True)
class TanhGrad(ElementwiseGrad):
    """grad_output (1 - output^2)."""

    name: ClassVar[str] = "tanh_grad"
    flops_per_element: ClassVar[int] = 3

    def reference(self, grad_output: Array, output: Array) -> Array:
        return np.asarray(grad_output * (1 - output * output))


@dataclass(frozen=True)
class Sigmoid(Elementwise):
    """1 / (1 + e^-x), by tanh, which does not overflow."""

    name: ClassVar[str] = "sigmoid"
    flops_per_element: ClassVar[int] = 10

    def reference(self, input: Array) -> Array:
        return 0.5 * np.tanh(0.5 * input) + 0.5

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        return (build.emit(SigmoidGrad(), grads[0], node.results[0], name="grad_input"),)


@dataclass(frozen=True)
class SigmoidGrad(ElementwiseGrad):
    """grad_output output (1 - output)."""

    name: ClassVar[str] = "sigmoid_grad"
    flops_per_element: ClassVar[int] = 3

    def reference(self, grad_output: Array, output: Array) -> Array:
        return np.asarray(grad_output * output * (1 - output))


@dataclass(frozen=True)
class Abs(Elementwise):
    """|x|."""

    name: ClassVar[str] = "abs"

    def reference(self, input: Array) -> Array:
        return np.abs(input)

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        return (build.emit(AbsGrad(), grads[0], node.operands[0], name="grad_input"),)


@dataclass(frozen=True)
class AbsGrad(ElementwiseGrad):
    """grad_output sign(input)."""

    name: ClassVar[str] = "abs_grad"
    operands: ClassVar[tuple[str, ...]] = ("grad_output", "input")

    def reference(self, grad_output: Array, input: Array) -> Array:
        return grad_output * np.sign(input)


@dataclass(frozen=True)
class Scale(Elementwise):
    """x times a fixed factor: dropout at test time, the weight of a loss."""

    name: ClassVar[str] = "scale"
    linear: ClassVar[bool] = True
    factor: float = attribute(REAL)

    def reference(self, input: Array) -> Array:
        return np.asarray(input * input.dtype.type(self.factor))

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        return (build.emit(self, grads[0], name="grad_input"),)


@dataclass(frozen=True)
class Add(Op):
    """Sum of two values of one shape."""

    name: ClassVar[str] = "add"
    operands: ClassVar[tuple[str, ...]] = ("left", "right")

    def type_rule(self, left: TensorType, right: TensorType) -> TensorType:
        if left.shape != right.shape:
            raise TypeRuleError(
                "S016",
                f"`add` wants two values of one shape, found {sample_text(left)} and {sample_text(right)}",
                label=f"{sample_text(left)} and {sample_text(right)}",
                helps=["a 1 x 1 conv with the right kernels and stride makes the one fit the other"],
            )
        return f32(*left.shape)

    def reference(self, left: Array, right: Array) -> Array:
        return left + right

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from (Strategy((p, p), (p,)) for p in (BATCH, CHANNELS, PARTIAL))

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        return grads[0], grads[0]
