"""Pooling: the largest, the mean, or the root of the squares of each window; and the mean of a whole map."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alexnet_ir.ir.attributes import FLAG, PADS, PAIR, Pads, Pair, attribute, optional
from alexnet_ir.ir.graph import Builder, Node, Value
from alexnet_ir.ir.op import Array, Op, Strategy, TypeRuleError
from alexnet_ir.ir.types import BATCH, CHANNELS, PARTIAL, REPLICATED, WHOLE_DTYPES, DType, TensorType, f32
from alexnet_ir.ops.rules import want_map, want_rank, want_shape
from alexnet_ir.ops.window import ROUND, Windows, windows


@dataclass(frozen=True)
class Pool(Op):
    """What the poolings and their gradients share; the stride is the size unless it is given."""

    size: Pair = attribute(PAIR)
    stride: Pair = attribute(optional(PAIR), None)
    pad: Pads = attribute(PADS, 0)
    round: str = attribute(ROUND, "exact")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride is None:
            object.__setattr__(self, "stride", self.size)

    def windows(self, maps: TensorType | Pair) -> Windows:
        """The windows over these maps."""
        return windows(maps, self.size, self.stride, self.pad, round=self.round)

    def type_rule(self, *operands: TensorType) -> TensorType | tuple[TensorType, ...]:
        """For the poolings themselves; a window must meet the image."""
        (input,) = operands
        want_map(self.name, input)
        if any(p >= k for pads, k in zip(self.pad, self.size, strict=True) for p in pads):
            raise TypeRuleError(
                "S013",
                f"`{self.name}`: a window of {self.size[0]} x {self.size[1]} would lie wholly in its padding",
                argument="pad",
                helps=[f"pad by less than the size: at most {min(self.size) - 1}"],
            )
        return f32(*input.shape[:2], *self.windows(input).output)

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from (Strategy((p,) * len(operands), (p,) * len(results)) for p in (BATCH, CHANNELS))


@dataclass(frozen=True)
class PoolGrad(Pool):
    """The gradient of a pooling of maps of `input_size`."""

    operands: ClassVar[tuple[str, ...]] = ("grad_output",)
    input_size: Pair = attribute(PAIR, kw_only=True)

    def type_rule(self, *operands: TensorType) -> TensorType | tuple[TensorType, ...]:
        grad_output = operands[0]
        want_map(self.name, grad_output)
        pooled = (*grad_output.shape[:2], *self.windows(self.input_size).output)
        input = (*grad_output.shape[:2], *self.input_size)
        for name, operand in zip(self.operands, operands, strict=True):
            want_shape(self.name, name, operand, input if name == "input" else pooled)
        return f32(*input)

    def spread(self, like: Array) -> tuple[Windows, Array]:
        """The windows, and zeros of the padded maps to scatter into."""
        over = self.windows(self.input_size)
        return over, over.padded(np.zeros((*like.shape[:2], *self.input_size), like.dtype))

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from super().splits(operands, results, devices)
        yield Strategy((PARTIAL, *[REPLICATED] * (len(operands) - 1)), (PARTIAL,))


@dataclass(frozen=True)
class MaxPool(Pool):
    """input [n, c, h, w] -> the largest of each window, and which cell of it that was (row-major, the first of equals).
    Padding is ignored; NaN comes through."""

    name: ClassVar[str] = "maxpool"
    results: ClassVar[tuple[str, ...]] = ("", "argmax")

    def type_rule(self, *operands: TensorType) -> TensorType | tuple[TensorType, ...]:
        pooled = super().type_rule(*operands)
        assert isinstance(pooled, TensorType)
        return pooled, TensorType(self.argmax_dtype, pooled.shape)

    @property
    def argmax_dtype(self) -> DType:
        """A byte where a window has no more cells than that."""
        return "u8" if math.prod(self.size) <= 256 else "i32"

    def reference(self, input: Array) -> tuple[Array, ...]:
        over = self.windows(input.shape[-2:])
        best = np.full((*input.shape[:2], *over.output), -np.inf, input.dtype)
        argmax = np.empty(best.shape, WHOLE_DTYPES[self.argmax_dtype])
        argmax[...] = self.first_cells(over)
        for i, j, tap in over.taps(over.padded(input, -np.inf)):
            better = ~(tap <= best) & ~np.isnan(best)
            np.copyto(best, tap, where=better)
            argmax[better] = i * self.size[1] + j
        return best, argmax

    def first_cells(self, over: Windows) -> Array:
        """For each window, its first cell inside the map: what wins where all are -inf, as the padding is."""
        rows, columns = (
            np.maximum(0, over.pad[axis][0] - over.stride[axis] * np.arange(over.output[axis])) for axis in range(2)
        )
        return np.asarray(rows[:, None] * self.size[1] + columns)

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        rows, columns = build.type(node.operands[0]).shape[2:]
        op = MaxPoolGrad(self.size, self.stride, self.pad, self.round, input_size=(rows, columns))
        return (build.emit(op, grads[0], node.results[1], name="grad_input"),)


@dataclass(frozen=True)
class MaxPoolGrad(PoolGrad):
    """grad_output sent to the cell that argmax names."""

    name: ClassVar[str] = "maxpool_grad"
    operands: ClassVar[tuple[str, ...]] = ("grad_output", "argmax")

    def reference(self, grad_output: Array, argmax: Array) -> Array:
        over, padded = self.spread(grad_output)
        for i, j, tap in over.taps(padded):
            tap += grad_output * (argmax == i * self.size[1] + j)
        return np.ascontiguousarray(over.cropped(padded))


@dataclass(frozen=True)
class AvgPool(Pool):
    """input [n, c, h, w] -> the mean of each window's part inside the image; with `count_pad`, the padding counts as
    zeros (what rounding up reads beyond it never does)."""

    name: ClassVar[str] = "avgpool"
    count_pad: bool = attribute(FLAG, False)

    def reference(self, input: Array) -> Array:
        over = self.windows(input.shape[-2:])
        return np.asarray(sum(tap for _, _, tap in over.taps(over.padded(input))) / cells(over, self.count_pad, input))

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        rows, columns = build.type(node.operands[0]).shape[2:]
        op = AvgPoolGrad(
            self.size, self.stride, self.pad, self.round, count_pad=self.count_pad, input_size=(rows, columns)
        )
        return (build.emit(op, grads[0], name="grad_input"),)


def cells(over: Windows, count_pad: bool, like: Array) -> Array:
    """How many cells each window's mean is over: [output rows, output columns], in the float type of `like`."""
    inside = np.ones(over.input, like.dtype)
    if count_pad:
        inside = np.pad(inside, over.pad, constant_values=1)
        inside = np.pad(inside, [(0, over.extra[0]), (0, over.extra[1])])
    else:
        inside = over.padded(inside)
    return np.asarray(sum(tap for _, _, tap in over.taps(inside)))


@dataclass(frozen=True)
class AvgPoolGrad(PoolGrad):
    """grad_output shared out evenly over each window's cells."""

    name: ClassVar[str] = "avgpool_grad"
    count_pad: bool = attribute(FLAG, False)

    def reference(self, grad_output: Array) -> Array:
        over, padded = self.spread(grad_output)
        share = grad_output / cells(over, self.count_pad, grad_output)
        for _, _, tap in over.taps(padded):
            tap += share
        return np.ascontiguousarray(over.cropped(padded))


@dataclass(frozen=True)
class L2Pool(Pool):
    """input [n, c, h, w] -> the root of the sum of squares of each window."""

    name: ClassVar[str] = "l2pool"

    def reference(self, input: Array) -> Array:
        over = self.windows(input.shape[-2:])
        return np.sqrt(sum(tap * tap for _, _, tap in over.taps(over.padded(input))))

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        rows, columns = build.type(node.operands[0]).shape[2:]
        op = L2PoolGrad(self.size, self.stride, self.pad, self.round, input_size=(rows, columns))
        return (build.emit(op, grads[0], node.operands[0], node.results[0], name="grad_input"),)


@dataclass(frozen=True)
class L2PoolGrad(PoolGrad):
    """input (sum over its windows of grad_output / output); a window of zeros passes nothing on."""

    name: ClassVar[str] = "l2pool_grad"
    operands: ClassVar[tuple[str, ...]] = ("grad_output", "input", "output")

    def reference(self, grad_output: Array, input: Array, output: Array) -> Array:
        over, padded = self.spread(grad_output)
        share = np.divide(grad_output, output, out=np.zeros_like(output), where=output != 0)
        for _, _, tap in over.taps(padded):
            tap += share
        return np.asarray(input * over.cropped(padded))


@dataclass(frozen=True)
class GlobalAvgPool(Op):
    """input [n, c, h, w] -> the mean of each map [n, c]."""

    name: ClassVar[str] = "global_avgpool"

    def type_rule(self, input: TensorType) -> TensorType:
        want_map(self.name, input)
        return f32(*input.shape[:2])

    def reference(self, input: Array) -> Array:
        return np.asarray(input.mean(axis=(2, 3)))

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        rows, columns = build.type(node.operands[0]).shape[2:]
        return (build.emit(GlobalAvgPoolGrad((rows, columns)), grads[0], name="grad_input"),)

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from (Strategy((p,), (p,)) for p in (BATCH, CHANNELS, PARTIAL))


@dataclass(frozen=True)
class GlobalAvgPoolGrad(Op):
    """grad_output [n, c] shared out evenly over maps of `input_size`."""

    name: ClassVar[str] = "global_avgpool_grad"
    operands: ClassVar[tuple[str, ...]] = ("grad_output",)
    input_size: Pair = attribute(PAIR)

    def type_rule(self, grad_output: TensorType) -> TensorType:
        want_rank(self.name, "a gradient", grad_output, 2)
        return f32(*grad_output.shape, *self.input_size)

    def reference(self, grad_output: Array) -> Array:
        share = grad_output[:, :, None, None] / math.prod(self.input_size)
        return np.broadcast_to(share, (*grad_output.shape, *self.input_size)).astype(grad_output.dtype)

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from (Strategy((p,), (p,)) for p in (BATCH, CHANNELS, PARTIAL))
