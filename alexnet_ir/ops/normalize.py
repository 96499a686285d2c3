"""Local response normalisation: section 3.3 of the paper, over adjacent maps or within each map.

b = a / s^beta with s = k + alpha (sum of a^2 over a window); alpha multiplies the sum and is not divided by its size.
The gradients recompute s: only the input is kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from alexnet_ir.ir.attributes import COUNT, NON_NEGATIVE, POSITIVE, Kind, attribute
from alexnet_ir.ir.graph import Builder, Node, Value
from alexnet_ir.ir.op import Array, Op, Strategy
from alexnet_ir.ir.types import BATCH, CHANNELS, PARTIAL, REPLICATED, TensorType, f32
from alexnet_ir.ops.rules import want_groups, want_map, want_shape


def _odd(value: Any) -> int:
    number: int = COUNT.convert(value)
    if number % 2 == 0:
        raise ValueError
    return number


ODD = Kind("an odd whole number", _odd)


def band_sums(values: Array, axis: int, n: int) -> Array:
    """For each position along `axis`, the sum over the n positions around it that exist."""
    half, length = n // 2, values.shape[axis]
    width = [(0, 0)] * values.ndim
    width[axis] = (half, half)
    padded = np.moveaxis(np.pad(values, width), axis, 0)
    return np.moveaxis(np.asarray(sum(padded[i : i + length] for i in range(n))), 0, axis)


class _Normalization(ABC):
    """The two formulas, for any window; `sums` adds up each element's window."""

    k: float
    alpha: float
    beta: float

    @abstractmethod
    def sums(self, values: Array) -> Array:
        """The sum over each element's window."""

    def normalize(self, input: Array) -> Array:
        """a s^-beta."""
        scale = self.k + self.alpha * self.sums(input * input)
        return np.asarray(input * scale**-self.beta)

    def normalize_grad(self, grad_output: Array, input: Array) -> Array:
        """g s^-beta - 2 alpha beta a (sum over the window of g a s^(-beta - 1))."""
        scale = self.k + self.alpha * self.sums(input * input)
        direct = grad_output * scale**-self.beta
        return np.asarray(direct - 2 * self.alpha * self.beta * input * self.sums(direct * input / scale))


@dataclass(frozen=True)
class LrnAttributes(_Normalization, Op):
    """Windows of n maps; with groups, a window stays inside its group."""

    flops_per_element: ClassVar[int] = 30
    n: int = attribute(ODD)
    k: float = attribute(POSITIVE)
    alpha: float = attribute(NON_NEGATIVE)
    beta: float = attribute(POSITIVE)
    groups: int = attribute(COUNT, 1)

    def type_rule(self, *operands: TensorType) -> TensorType:
        want_map(self.name, operands[-1])
        want_groups(self.name, "channels", operands[-1].shape[1], self.groups)
        want_shape(self.name, "a gradient", operands[0], operands[-1].shape)
        return f32(*operands[-1].shape)

    def sums(self, values: Array) -> Array:
        """Over each map's neighbours in its group; [n, c, h, w] to the same."""
        n, c, h, w = values.shape
        return band_sums(values.reshape(n, self.groups, c // self.groups, h, w), 2, self.n).reshape(values.shape)

    @property
    def reach(self) -> int:
        """Neighbours on each side that a map's window reads."""
        return self.n // 2

    def by_channels(self, input: TensorType, devices: int, maps: int) -> Iterator[Strategy]:
        """A share of the maps on each device, if whole groups lie on it, or if no neighbour's neighbour is needed: a
        gradient reads twice as far as a window. `maps` cross each border in each direction."""
        operands = (CHANNELS,) * len(self.operands)
        if self.groups % devices == 0:
            yield Strategy(operands, (CHANNELS,))
        elif self.groups == 1 and input.shape[1] // devices >= 2 * self.reach:
            yield Strategy(operands, (CHANNELS,), 2 * (devices - 1) * maps * input.nbytes // input.shape[1])

    def shard(self, operands: Sequence[TensorType], device: int, devices: int) -> Op:
        """By channels, a device has its share of the groups."""
        if operands[-1].placement == CHANNELS and self.groups % devices == 0:
            return replace(self, groups=self.groups // devices)
        return self


@dataclass(frozen=True)
class Lrn(LrnAttributes):
    """Across maps: input [n, c, h, w] to the same shape."""

    name: ClassVar[str] = "lrn"

    def reference(self, input: Array) -> Array:
        return self.normalize(input)

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        op = LrnGrad(self.n, self.k, self.alpha, self.beta, self.groups)
        return (build.emit(op, grads[0], node.operands[0], name="grad_input"),)

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield Strategy((BATCH,), (BATCH,))
        yield from self.by_channels(operands[0], devices, self.reach)


@dataclass(frozen=True)
class LrnGrad(LrnAttributes):
    """The gradient of `lrn`."""

    name: ClassVar[str] = "lrn_grad"
    operands: ClassVar[tuple[str, ...]] = ("grad_output", "input")

    def reference(self, grad_output: Array, input: Array) -> Array:
        return self.normalize_grad(grad_output, input)

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield Strategy((BATCH, BATCH), (BATCH,))
        yield Strategy((PARTIAL, REPLICATED), (PARTIAL,))
        yield from self.by_channels(operands[1], devices, 3 * self.reach)


@dataclass(frozen=True)
class LocalNormAttributes(_Normalization, Op):
    """Windows of size x size cells, cut at the border."""

    flops_per_element: ClassVar[int] = 30
    size: int = attribute(ODD)
    k: float = attribute(POSITIVE)
    alpha: float = attribute(NON_NEGATIVE)
    beta: float = attribute(POSITIVE)

    def type_rule(self, *operands: TensorType) -> TensorType:
        want_map(self.name, operands[-1])
        want_shape(self.name, "a gradient", operands[0], operands[-1].shape)
        return f32(*operands[-1].shape)

    def sums(self, values: Array) -> Array:
        """Over each cell's neighbours in its map."""
        return band_sums(band_sums(values, 2, self.size), 3, self.size)


@dataclass(frozen=True)
class LocalNorm(LocalNormAttributes):
    """Within each map: input [n, c, h, w] to the same shape."""

    name: ClassVar[str] = "local_norm"

    def reference(self, input: Array) -> Array:
        return self.normalize(input)

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        op = LocalNormGrad(self.size, self.k, self.alpha, self.beta)
        return (build.emit(op, grads[0], node.operands[0], name="grad_input"),)

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from (Strategy((p,), (p,)) for p in (BATCH, CHANNELS))


@dataclass(frozen=True)
class LocalNormGrad(LocalNormAttributes):
    """The gradient of `local_norm`."""

    name: ClassVar[str] = "local_norm_grad"
    operands: ClassVar[tuple[str, ...]] = ("grad_output", "input")

    def reference(self, grad_output: Array, input: Array) -> Array:
        return self.normalize_grad(grad_output, input)

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from (Strategy((p, p), (p,)) for p in (BATCH, CHANNELS))
        yield Strategy((PARTIAL, REPLICATED), (PARTIAL,))
