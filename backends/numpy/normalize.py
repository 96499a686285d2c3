"""Kernels of the normalisations, some images at a time."""

from __future__ import annotations

import numpy as np

from alexnet_ir.backends.kernel import Arrays, Kernel, Types, running
from alexnet_ir.backends.numpy.elementwise import over_either, over_first
from alexnet_ir.backends.numpy.pieces import cut, images_of, shares, some
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops.batchnorm import (
    BatchNorm,
    BatchNormGrad,
    BatchNormGradInput,
    BatchNormGradWeight,
    BatchNormInference,
    ChannelSquares,
    RunningAverage,
    axes,
    per_channel,
)
from alexnet_ir.ops.normalize import LocalNorm, LocalNormAttributes, LocalNormGrad, Lrn, LrnAttributes, LrnGrad

Norm = LrnAttributes | LocalNormAttributes


# --- local --------------------------------------------------------------------------------------------------------


def band_sums(values: Array, axis: int, n: int, out: Array) -> None:
    """For each position along `axis`, the sum over the n positions around it that exist."""
    near, far = np.moveaxis(values, axis, 0), np.moveaxis(out, axis, 0)
    np.copyto(out, values)
    for step in range(1, min(n // 2 + 1, len(near))):
        np.add(far[step:], near[:-step], out=far[step:])
        np.add(far[:-step], near[step:], out=far[:-step])


def window_sums(op: Norm, values: Array, spare: Array) -> tuple[Array, Array]:
    """The sums over each element's window, and the one of the two arrays that they are not in; `values` is lost."""
    if isinstance(op, LocalNormAttributes):
        band_sums(values, 2, op.size, spare)
        band_sums(spare, 3, op.size, values)
        return values, spare
    n, c, h, w = values.shape
    grouped = (n, op.groups, c // op.groups, h, w)
    band_sums(values.reshape(grouped), 2, op.n, spare.reshape(grouped))
    return spare, values


def scales(op: Norm, input: Array, squares: Array, spare: Array) -> tuple[Array, Array]:
    """s = k + alpha (sum of a^2 over the window), and the array that is free."""
    np.multiply(input, input, out=squares)
    scale, free = window_sums(op, squares, spare)
    np.multiply(scale, op.alpha, out=scale)
    np.add(scale, op.k, out=scale)
    return scale, free


def power(scale: Array, beta: float, out: Array, free: Array) -> None:
    """scale^-beta, by square roots for the 0.75 that everybody uses."""
    if beta != 0.75:
        np.power(scale, -beta, out=out)
        return
    np.divide(1, scale, out=out)
    np.sqrt(out, out=out)
    np.sqrt(out, out=free)
    np.multiply(out, free, out=out)


def normalize(op: Norm, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """a s^-beta."""
    for images in shares(len(operands[0]), len(scratch[0])):
        input, first, second = operands[0][images], *cut(scratch, images)
        scale, free = scales(op, input, first, second)
        power(scale, op.beta, scale, free)
        np.multiply(input, scale, out=outs[0][images])


def normalize_grad(op: Norm, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """g s^-beta - 2 alpha beta a (sum over the window of g a s^(-beta - 1))."""
    for images in shares(len(operands[0]), len(scratch[0])):
        grad, input = operands[0][images], operands[1][images]
        first, second, direct = cut(scratch, images)
        scale, carried = scales(op, input, first, second)
        power(scale, op.beta, direct, carried)
        np.multiply(direct, grad, out=direct)
        np.multiply(direct, input, out=carried)
        np.divide(carried, scale, out=carried)
        indirect, _ = window_sums(op, carried, scale)
        np.multiply(indirect, input, out=indirect)
        np.multiply(indirect, 2 * op.alpha * op.beta, out=indirect)
        np.subtract(direct, indirect, out=outs[0][images])


def maps(op: Op, operands: Types, results: Types) -> tuple[TensorType, ...]:
    """Scratch for some images of the first result."""
    return (some(results[0], images_of(results[0])),)


# --- by batch -----------------------------------------------------------------------------------------------------


def batchnorm(op: BatchNorm, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """The result's memory holds the centred input on the way."""
    input, weight, bias = operands
    out, mean, variance = outs
    squares, vector = scratch
    count = input.size // input.shape[1]
    np.add.reduce(input, axis=axes(input), out=mean)
    np.divide(mean, count, out=mean)
    variance.fill(0)
    for images in shares(len(input), len(squares)):
        centred, (part,) = out[images], cut([squares], images)
        np.subtract(input[images], per_channel(mean, input), out=centred)
        np.multiply(centred, centred, out=part)
        np.add.reduce(part, axis=axes(part), out=vector)
        np.add(variance, vector, out=variance)
    np.divide(variance, count, out=variance)
    inverse_root(variance, op.eps, vector)
    np.multiply(vector, weight, out=vector)
    np.multiply(out, per_channel(vector, out), out=out)
    np.add(out, per_channel(bias, out), out=out)


def inverse_root(variance: Array, eps: float, out: Array) -> None:
    """1 / sqrt(variance + eps)."""
    np.add(variance, eps, out=out)
    np.sqrt(out, out=out)
    np.divide(1, out, out=out)


def batchnorm_grad(op: BatchNormGrad, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """The result's memory holds the normalised input on the way."""
    grad_output, input, weight, mean, variance = operands
    out, grad_weight, grad_bias = outs
    products, inverse, vector = scratch
    inverse_root(variance, op.eps, inverse)
    grad_weight.fill(0)
    for images in shares(len(input), len(products)):
        unit, (part,) = out[images], cut([products], images)
        np.subtract(input[images], per_channel(mean, input), out=unit)
        np.multiply(unit, per_channel(inverse, input), out=unit)
        np.multiply(grad_output[images], unit, out=part)
        np.add.reduce(part, axis=axes(part), out=vector)
        np.add(grad_weight, vector, out=grad_weight)
    np.add.reduce(grad_output, axis=axes(grad_output), out=grad_bias)
    np.divide(grad_weight, -(input.size // input.shape[1]), out=vector)
    np.multiply(out, per_channel(vector, out), out=out)
    np.divide(grad_bias, -(input.size // input.shape[1]), out=vector)
    np.add(out, per_channel(vector, out), out=out)
    np.add(out, grad_output, out=out)
    np.multiply(inverse, weight, out=vector)
    np.multiply(out, per_channel(vector, out), out=out)


def batchnorm_inference(op: BatchNormInference, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """A factor and a term for each channel."""
    input, weight, bias, mean, variance = operands
    factor, term = scratch
    inverse_root(variance, op.eps, factor)
    np.multiply(factor, weight, out=factor)
    np.multiply(mean, factor, out=term)
    np.subtract(bias, term, out=term)
    np.multiply(input, per_channel(factor, input), out=outs[0])
    np.add(outs[0], per_channel(term, input), out=outs[0])


def channel_squares(op: ChannelSquares, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """The sum of (input - mean)^2 for each channel, some images at a time."""
    input, mean = operands
    squares, vector = scratch
    outs[0].fill(0)
    for images in shares(len(input), len(squares)):
        (part,) = cut([squares], images)
        np.subtract(input[images], per_channel(mean, input), out=part)
        np.multiply(part, part, out=part)
        np.add.reduce(part, axis=axes(part), out=vector)
        np.add(outs[0], vector, out=outs[0])


def batchnorm_grad_weight(op: BatchNormGradWeight, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """The sum of grad_output times the normalised input for each channel, some images at a time."""
    grad_output, input, mean, variance = operands
    products, vector = scratch
    outs[0].fill(0)
    for images in shares(len(input), len(products)):
        (part,) = cut([products], images)
        np.subtract(input[images], per_channel(mean, input), out=part)
        np.multiply(part, grad_output[images], out=part)
        np.add.reduce(part, axis=axes(part), out=vector)
        np.add(outs[0], vector, out=outs[0])
    inverse_root(variance, op.eps, vector)
    np.multiply(outs[0], vector, out=outs[0])


def batchnorm_grad_input(op: BatchNormGradInput, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """weight s (grad_output - (grad_bias + unit grad_weight) / count), with unit = (input - mean) s."""
    grad_output, input, weight, mean, variance, grad_weight, grad_bias = operands
    (out,), (inverse, vector) = outs, scratch
    inverse_root(variance, op.eps, inverse)
    np.subtract(input, per_channel(mean, input), out=out)
    np.multiply(grad_weight, inverse, out=vector)
    np.divide(vector, -op.count, out=vector)
    np.multiply(out, per_channel(vector, out), out=out)
    np.divide(grad_bias, -op.count, out=vector)
    np.add(out, per_channel(vector, out), out=out)
    np.add(out, grad_output, out=out)
    np.multiply(inverse, weight, out=vector)
    np.multiply(out, per_channel(vector, out), out=out)


def running_average(op: RunningAverage, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """(1 - momentum) running + momentum correction batch."""
    running, batch = operands
    np.multiply(batch, op.momentum * op.correction, out=scratch[0])
    np.multiply(running, 1 - op.momentum, out=outs[0])
    np.add(outs[0], scratch[0], out=outs[0])


def _channels(type_: TensorType) -> TensorType:
    return f32(type_.shape[1])


LOCAL = Kernel(running(normalize), lambda *types: maps(*types) * 2, in_place=over_first)
LOCAL_GRAD = Kernel(running(normalize_grad), lambda *types: maps(*types) * 3, in_place=over_either)
KERNELS: dict[type[Op], Kernel] = {
    Lrn: LOCAL,
    LrnGrad: LOCAL_GRAD,
    LocalNorm: LOCAL,
    LocalNormGrad: LOCAL_GRAD,
    BatchNorm: Kernel(
        running(batchnorm), lambda op, o, results: (*maps(op, o, results), _channels(o[0])), in_place=over_first
    ),
    BatchNormGrad: Kernel(
        running(batchnorm_grad),
        lambda op, o, results: (*maps(op, o, results), _channels(o[0]), _channels(o[0])),
        in_place=lambda op: ((0, 1),),
    ),
    BatchNormInference: Kernel(
        running(batchnorm_inference), lambda op, o, results: (_channels(o[0]),) * 2, in_place=over_first
    ),
    ChannelSquares: Kernel(running(channel_squares), lambda op, o, results: (*maps(op, o, o), _channels(o[0]))),
    BatchNormGradWeight: Kernel(
        running(batchnorm_grad_weight), lambda op, o, results: (*maps(op, o, o), _channels(o[0]))
    ),
    BatchNormGradInput: Kernel(
        running(batchnorm_grad_input),
        lambda op, o, results: (_channels(o[0]),) * 2,
        in_place=lambda op: ((0, 1),),
    ),
    RunningAverage: Kernel(running(running_average), lambda op, o, results: (o[0],), in_place=over_either),
}
"""By the class of op."""
