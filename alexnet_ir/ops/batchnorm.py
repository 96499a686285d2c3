"""Batch normalisation (Ioffe and Szegedy 2015): per channel, over the batch and the positions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alexnet_ir.ir.attributes import COUNT, FRACTION, POSITIVE, attribute
from alexnet_ir.ir.graph import Builder, Node, Value
from alexnet_ir.ir.op import Array, Op, Strategy, TypeRuleError
from alexnet_ir.ir.types import BATCH, CHANNELS, PARTIAL, REPLICATED, TensorType, f32, sample_text
from alexnet_ir.ops.placing import exchanged_bytes
from alexnet_ir.ops.rules import want_rank, want_shape


def samples(type_: TensorType) -> int:
    """Over how many values each channel's statistics are."""
    return math.prod(type_.shape) // type_.shape[1]


def axes(array: Array) -> tuple[int, ...]:
    """All but the channel's."""
    return (0, *range(2, array.ndim))


def want_channels(op: str, input: TensorType, vectors: Sequence[TensorType]) -> None:
    """Refuse anything but maps or vectors, and a number for each of their channels."""
    want_rank(op, "an input", input, 2, 4)
    for vector in vectors:
        want_shape(op, "a number for each channel", vector, input.shape[1:2])


def per_channel(vector: Array, like: Array) -> Array:
    """A vector [c] shaped to broadcast over [n, c, ...]."""
    return vector.reshape((1, -1) + (1,) * (like.ndim - 2))


def over_the_batch(
    operands: Sequence[TensorType], results: Sequence[TensorType], devices: int, whole: Sequence[int]
) -> Strategy:
    """A share of the images on each device; two sums for each channel are added up over all of them."""
    places = tuple(REPLICATED if i in whole else BATCH for i in range(len(operands)))
    exchanged = 2 * exchanged_bytes(results[1].nbytes, PARTIAL, REPLICATED, devices)
    return Strategy(places, (BATCH, REPLICATED, REPLICATED), exchanged)


@dataclass(frozen=True)
class BatchNorm(Op):
    """input [n, c, ...], weight [c], bias [c] -> normalised, and the batch's mean and (biased) variance [c]."""

    name: ClassVar[str] = "batchnorm"
    operands: ClassVar[tuple[str, ...]] = ("input", "weight", "bias")
    results: ClassVar[tuple[str, ...]] = ("", "mean", "variance")
    flops_per_element: ClassVar[int] = 8
    eps: float = attribute(POSITIVE, 1e-5)

    def type_rule(self, input: TensorType, weight: TensorType, bias: TensorType) -> tuple[TensorType, ...]:
        want_channels(self.name, input, (weight, bias))
        if samples(input) < 2:
            raise TypeRuleError(
                "S018",
                "`batchnorm` needs two values of each channel in a batch to know their variance",
                label=f"the input here is {sample_text(input)} at batch {input.shape[0]}",
                helps=["use a larger batch"],
            )
        return f32(*input.shape), f32(input.shape[1]), f32(input.shape[1])

    def reference(self, input: Array, weight: Array, bias: Array) -> tuple[Array, ...]:
        mean, variance = input.mean(axis=axes(input)), input.var(axis=axes(input))
        centred = input - per_channel(mean, input)
        return (
            per_channel(weight / np.sqrt(variance + self.eps), input) * centred + per_channel(bias, input),
            mean,
            variance,
        )

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        input, weight, _ = node.operands
        _, mean, variance = node.results
        return build.emit_all(BatchNormGrad(self.eps), grads[0], input, weight, mean, variance, name="grad_input")

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield Strategy((CHANNELS, BATCH, BATCH), (CHANNELS, BATCH, BATCH))
        yield over_the_batch(operands, results, devices, whole=(1, 2))


@dataclass(frozen=True)
class BatchNormGrad(Op):
    """The gradients of input, weight and bias; the batch's statistics depend on the input too."""

    name: ClassVar[str] = "batchnorm_grad"
    operands: ClassVar[tuple[str, ...]] = ("grad_output", "input", "weight", "mean", "variance")
    results: ClassVar[tuple[str, ...]] = ("", "weight", "bias")
    flops_per_element: ClassVar[int] = 12
    eps: float = attribute(POSITIVE, 1e-5)

    def type_rule(self, grad_output: TensorType, input: TensorType, *vectors: TensorType) -> tuple[TensorType, ...]:
        want_channels(self.name, input, vectors)
        want_shape(self.name, "a gradient", grad_output, input.shape)
        return f32(*grad_output.shape), f32(grad_output.shape[1]), f32(grad_output.shape[1])

    def reference(
        self, grad_output: Array, input: Array, weight: Array, mean: Array, variance: Array
    ) -> tuple[Array, ...]:
        inverse = 1 / np.sqrt(variance + self.eps)
        unit = (input - per_channel(mean, input)) * per_channel(inverse, input)
        grad_weight, grad_bias = (grad_output * unit).sum(axis=axes(input)), grad_output.sum(axis=axes(input))
        count = input.size // input.shape[1]
        shared = per_channel(grad_bias / count, input) + unit * per_channel(grad_weight / count, input)
        return per_channel(weight * inverse, input) * (grad_output - shared), grad_weight, grad_bias

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield Strategy((CHANNELS, CHANNELS, BATCH, BATCH, BATCH), (CHANNELS, BATCH, BATCH))
        yield Strategy((PARTIAL, *[REPLICATED] * 4), (PARTIAL,) * 3)
        yield over_the_batch(operands, results, devices, whole=(2, 3, 4))


@dataclass(frozen=True)
class BatchNormInference(Op):
    """Normalised by the running statistics."""

    name: ClassVar[str] = "batchnorm_inference"
    operands: ClassVar[tuple[str, ...]] = ("input", "weight", "bias", "mean", "variance")
    flops_per_element: ClassVar[int] = 2
    eps: float = attribute(POSITIVE, 1e-5)

    def type_rule(self, input: TensorType, *vectors: TensorType) -> TensorType:
        want_channels(self.name, input, vectors)
        return f32(*input.shape)

    def reference(self, input: Array, weight: Array, bias: Array, mean: Array, variance: Array) -> Array:
        factor = weight / np.sqrt(variance + self.eps)
        return input * per_channel(factor, input) + per_channel(bias - mean * factor, input)

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield Strategy((BATCH, *[REPLICATED] * 4), (BATCH,))
        yield Strategy((CHANNELS, *[BATCH] * 4), (CHANNELS,))


@dataclass(frozen=True)
class RunningAverage(Op):
    """running [c], batch [c] -> (1 - momentum) running + momentum correction batch."""

    name: ClassVar[str] = "running_average"
    operands: ClassVar[tuple[str, ...]] = ("running", "batch")
    momentum: float = attribute(FRACTION, 0.1)
    correction: float = attribute(POSITIVE, 1.0)

    def type_rule(self, running: TensorType, batch: TensorType) -> TensorType:
        want_shape(self.name, "a batch's statistic", batch, running.shape)
        return f32(*running.shape)

    def reference(self, running: Array, batch: Array) -> Array:
        return (1 - self.momentum) * running + self.momentum * self.correction * batch

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield Strategy((BATCH, BATCH), (BATCH,))


# What a device runs of these where the batch is shared out: each sum on its own, so that it can be added up.


@dataclass(frozen=True)
class ChannelSquares(Op):
    """input [n, c, ...], mean [c] -> the sum of (input - mean)^2 for each channel [c]."""

    name: ClassVar[str] = "channel_squares"
    operands: ClassVar[tuple[str, ...]] = ("input", "mean")
    flops_per_element: ClassVar[int] = 3

    def type_rule(self, input: TensorType, mean: TensorType) -> TensorType:
        want_channels(self.name, input, (mean,))
        return f32(input.shape[1])

    def reference(self, input: Array, mean: Array) -> Array:
        centred = input - per_channel(mean, input)
        return np.asarray((centred * centred).sum(axis=axes(input)))


@dataclass(frozen=True)
class BatchNormGradWeight(Op):
    """The weight's gradient: the sum of grad_output times the normalised input for each channel [c]."""

    name: ClassVar[str] = "batchnorm_grad_weight"
    operands: ClassVar[tuple[str, ...]] = ("grad_output", "input", "mean", "variance")
    flops_per_element: ClassVar[int] = 4
    eps: float = attribute(POSITIVE, 1e-5)

    def type_rule(self, grad_output: TensorType, input: TensorType, *vectors: TensorType) -> TensorType:
        want_channels(self.name, input, vectors)
        want_shape(self.name, "a gradient", grad_output, input.shape)
        return f32(input.shape[1])

    def reference(self, grad_output: Array, input: Array, mean: Array, variance: Array) -> Array:
        unit = (input - per_channel(mean, input)) / per_channel(np.sqrt(variance + self.eps), input)
        return np.asarray((grad_output * unit).sum(axis=axes(input)))


@dataclass(frozen=True)
class BatchNormGradInput(Op):
    """The input's gradient from those of weight and bias, which are sums over `count` values of each channel."""

    name: ClassVar[str] = "batchnorm_grad_input"
    operands: ClassVar[tuple[str, ...]] = (
        "grad_output", "input", "weight", "mean", "variance", "grad_weight", "grad_bias",
    )  # fmt: skip
    flops_per_element: ClassVar[int] = 8
    count: int = attribute(COUNT)
    eps: float = attribute(POSITIVE, 1e-5)

    def type_rule(self, grad_output: TensorType, input: TensorType, *vectors: TensorType) -> TensorType:
        want_channels(self.name, input, vectors)
        want_shape(self.name, "a gradient", grad_output, input.shape)
        return f32(*input.shape)

    def reference(
        self, grad_output: Array, input: Array, weight: Array, mean: Array, variance: Array, grad_weight: Array,
        grad_bias: Array,
    ) -> Array:  # fmt: skip
        inverse = 1 / np.sqrt(variance + self.eps)
        unit = (input - per_channel(mean, input)) * per_channel(inverse, input)
        shared = per_channel(grad_bias / self.count, input) + unit * per_channel(grad_weight / self.count, input)
        return np.asarray(per_channel(weight * inverse, input) * (grad_output - shared))
