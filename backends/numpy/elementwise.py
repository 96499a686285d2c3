"""Kernels of the ops on each element by itself: in place wherever shapes agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from alexnet_ir.backends.kernel import SMALL, Arrays, Kernel, Types, running
from alexnet_ir.backends.numpy.pieces import ELEMENTS, piece, pieces, shares
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.dense import BiasAdd, BiasGrad
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import (
    Abs,
    AbsGrad,
    Add,
    LeakyRelu,
    LeakyReluGrad,
    Relu,
    ReluGrad,
    Scale,
    Sigmoid,
    SigmoidGrad,
    Tanh,
    TanhGrad,
)
from alexnet_ir.philox import Domain, Key, keep_mask


def over_first(op: Op) -> tuple[tuple[int, int], ...]:
    """The result may overwrite the first operand."""
    return ((0, 0),)


def over_either(op: Op) -> tuple[tuple[int, int], ...]:
    """The result may overwrite either of two operands."""
    return (0, 0), (0, 1)


Unary = Callable[[Any, Array, Array], object]
"""Of an op, its operand and its result, all at once."""
Binary = Callable[[Any, Array, Array, Array, Array], object]
"""Of an op, pieces of its two operands and its result, and scratch."""


def unary(function: Unary) -> Kernel:
    """One operand, at most its result written on the way."""
    return Kernel(running(lambda op, operands, outs, _: function(op, operands[0], outs[0])), in_place=over_first)


def binary(function: Binary) -> Kernel:
    """Two operands, a piece at a time; the result is written last."""

    def run(op: Op, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
        for left, right, out in pieces(*operands, outs[0]):
            function(op, left, right, out, scratch[0][: out.size])

    return Kernel(running(run), scratch=piece, in_place=over_either)


def relu_grad(op: ReluGrad, grad: Array, output: Array, out: Array, mask: Array) -> None:
    """The mask is a factor, so that NaN comes through."""
    np.greater(output, 0, out=mask)
    np.multiply(grad, mask, out=out)


def sigmoid(op: Sigmoid, input: Array, out: Array) -> None:
    """0.5 tanh(0.5 x) + 0.5."""
    np.multiply(input, 0.5, out=out)
    np.tanh(out, out=out)
    np.multiply(out, 0.5, out=out)
    np.add(out, 0.5, out=out)


def sigmoid_grad(op: SigmoidGrad, grad: Array, output: Array, out: Array, scratch: Array) -> None:
    """grad output (1 - output)."""
    np.subtract(1, output, out=scratch)
    np.multiply(scratch, output, out=scratch)
    np.multiply(grad, scratch, out=out)


def tanh_grad(op: TanhGrad, grad: Array, output: Array, out: Array, scratch: Array) -> None:
    """grad (1 - output^2)."""
    np.multiply(output, output, out=scratch)
    np.subtract(1, scratch, out=scratch)
    np.multiply(grad, scratch, out=out)


def abs_grad(op: AbsGrad, grad: Array, input: Array, out: Array, scratch: Array) -> None:
    """grad sign(input)."""
    np.sign(input, out=scratch)
    np.multiply(grad, scratch, out=out)


def sloped(op: LeakyRelu | LeakyReluGrad, value: Array, side: Array, out: Array, scratch: Array) -> None:
    """The value where `side` > 0, and slope times the value elsewhere."""
    np.multiply(value, op.slope, out=scratch)
    np.copyto(scratch, value, where=side > 0)
    np.copyto(out, scratch)


def leaky_relu(op: LeakyRelu, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """The input is its own side."""
    for input, out in pieces(operands[0], outs[0]):
        sloped(op, input, input, out, scratch[0][: out.size])


def mask_bytes(op: Op, operands: Types, results: Types) -> int:
    """A truth value for each element of a piece."""
    return SMALL + min(results[0].size, ELEMENTS)


def bias_add(op: BiasAdd, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """One number a channel, or one a position."""
    input, bias = operands
    np.add(input, bias.reshape(bias.shape + (1,) * (input.ndim - 1 - bias.ndim)), out=outs[0])


def bias_grad(op: BiasGrad, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """The sum over all but what has a number of its own."""
    (grad,) = operands
    np.add.reduce(grad, axis=(0, *range(2, grad.ndim)) if op.per_channel else 0, out=outs[0])


def dropout(op: Dropout, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """The mask is drawn a piece at a time."""
    input, seed, step = operands
    key = Key(int(seed), Domain.DROPOUT, op.stream, int(step))
    samples = len(input) if op.period else 1
    rows, out = input.reshape(samples, -1), outs[0].reshape(samples, -1)
    for sample, row in enumerate(rows):
        for part in shares(row.size, ELEMENTS):
            start = op.start + sample * op.period + part.start
            np.multiply(row[part], keep_mask(key, op.p, part.stop - part.start, start), out=out[sample, part])
    if op.scale == "train":
        np.divide(out, out.dtype.type(1 - op.p), out=out)


def dropout_bytes(op: Dropout, operands: Types, results: Types) -> int:
    """What the generator takes for a piece: counters, words and the mask, and the rounds of some of them."""
    row = results[0].size // (results[0].shape[0] if op.period else 1)
    count = min(row, ELEMENTS)
    return SMALL + 11 * count + 12 * min(count, 1 << 15)


KERNELS: dict[type[Op], Kernel] = {
    Relu: unary(lambda op, input, out: np.maximum(input, 0, out=out)),
    Tanh: unary(lambda op, input, out: np.tanh(input, out=out)),
    Sigmoid: unary(sigmoid),
    Abs: unary(lambda op, input, out: np.abs(input, out=out)),
    Scale: unary(lambda op, input, out: np.multiply(input, input.dtype.type(op.factor), out=out)),
    ReluGrad: binary(relu_grad),
    TanhGrad: binary(tanh_grad),
    SigmoidGrad: binary(sigmoid_grad),
    AbsGrad: binary(abs_grad),
    LeakyRelu: Kernel(running(leaky_relu), piece, mask_bytes, over_first),
    LeakyReluGrad: replace(binary(sloped), temporary=mask_bytes),
    Add: Kernel(
        running(lambda op, operands, outs, _: np.add(operands[0], operands[1], out=outs[0])), in_place=over_either
    ),
    BiasAdd: Kernel(running(bias_add), in_place=over_first),
    BiasGrad: Kernel(running(bias_grad)),
    Dropout: Kernel(running(dropout), temporary=dropout_bytes, in_place=over_first),
}
"""By the class of op."""
