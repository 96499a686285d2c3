"""NumPy kernels in float32 for the steps where the op's plain meaning is slow: convolution as products of unrolled
windows, normalisation without powers, pooling and updates with few temporaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.lib.stride_tricks import as_strided

from alexnet_ir.backends.kernel import Kernel, running
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import WHOLE_DTYPES
from alexnet_ir.ops.conv import Conv, ConvAttributes, ConvGradInput, ConvGradWeight
from alexnet_ir.ops.normalize import LocalNorm, LocalNormAttributes, LocalNormGrad, Lrn, LrnAttributes, LrnGrad
from alexnet_ir.ops.pool import MaxPool
from alexnet_ir.ops.update import Sgd
from alexnet_ir.ops.window import Windows

CACHE_BYTES = 8 << 20
"""How much is worked on at a time: about what stays in the cache."""


def unrolled(over: Windows, padded: Array) -> Array:
    """A view [n, channels, rows, columns, output rows, output columns] of every window of `padded`."""
    n, c = padded.shape[:2]
    sn, sc, sh, sw = padded.strides
    (dh, dw), (th, tw) = over.dilation, over.stride
    strides = (sn, sc, sh * dh, sw * dw, sh * th, sw * tw)
    return as_strided(padded, (n, c, *over.size, *over.output), strides, writeable=False)


def shares(count: int, bytes_each: int) -> Iterator[slice]:
    """The batch in pieces for which `bytes_each` adds up to about CACHE_BYTES."""
    step = max(1, CACHE_BYTES // max(1, bytes_each))
    yield from (slice(start, min(start + step, count)) for start in range(0, count, step))


def columns(op: ConvAttributes, over: Windows, padded: Array, images: slice, group: int) -> Array:
    """The windows of some images, one group's channels: [n, channels rows columns, output rows output columns]."""
    c = padded.shape[1] // op.groups
    view = unrolled(over, padded[images, group * c : (group + 1) * c])
    return view.reshape(len(view), c * over.size[0] * over.size[1], -1)


def _column_bytes(op: ConvAttributes, over: Windows, channels: int) -> int:
    return 4 * channels // op.groups * int(np.prod(over.size)) * int(np.prod(over.output))


def conv(op: Conv, operands: tuple[Array, ...]) -> tuple[Array, ...]:
    """One product a group of images: kernels times unrolled windows."""
    input, weight = operands
    over = op.windows(input.shape[-2:], weight.shape[-2:])
    padded = np.ascontiguousarray(over.padded(input))
    kernels = weight.reshape(op.groups, len(weight) // op.groups, -1)
    out = np.empty((len(input), op.groups, kernels.shape[1], over.output[0] * over.output[1]), input.dtype)
    for images in shares(len(input), _column_bytes(op, over, input.shape[1])):
        for group in range(op.groups):
            np.matmul(kernels[group], columns(op, over, padded, images, group), out=out[images, group])
    return (out.reshape(len(input), len(weight), *over.output),)


def conv_grad_weight(op: ConvGradWeight, operands: tuple[Array, ...]) -> tuple[Array, ...]:
    """Products of gradients and unrolled windows, summed over the images."""
    grad_output, input = operands
    over = op.windows(input.shape[-2:], op.size)
    padded = np.ascontiguousarray(over.padded(input))
    grads = grad_output.reshape(len(grad_output), op.groups, grad_output.shape[1] // op.groups, -1)
    channels = input.shape[1] // op.groups
    out = np.zeros((op.groups, grads.shape[2], channels * op.size[0] * op.size[1]), input.dtype)
    for images in shares(len(input), _column_bytes(op, over, input.shape[1])):
        for group in range(op.groups):
            windows = columns(op, over, padded, images, group)
            out[group] += np.matmul(grads[images, group], windows.transpose(0, 2, 1)).sum(axis=0)
    return (out.reshape(grad_output.shape[1], channels, *op.size),)


def conv_grad_input(op: ConvGradInput, operands: tuple[Array, ...]) -> tuple[Array, ...]:
    """Products of kernels and gradients, each cell of the window added to where it was read."""
    grad_output, weight = operands
    over = op.windows(op.input_size, weight.shape[-2:])
    channels = weight.shape[1]
    kernels = weight.reshape(op.groups, len(weight) // op.groups, -1).transpose(0, 2, 1)
    grads = grad_output.reshape(len(grad_output), op.groups, grad_output.shape[1] // op.groups, -1)
    padded = over.padded(np.zeros((len(grads), channels * op.groups, *op.input_size), grad_output.dtype))
    for images in shares(len(grads), _column_bytes(op, over, channels * op.groups)):
        for group in range(op.groups):
            spread = np.matmul(kernels[group], grads[images, group])
            spread = spread.reshape(len(spread), channels, *over.size, *over.output)
            maps = padded[images, group * channels : (group + 1) * channels]
            for i, j, tap in over.taps(maps):
                tap += spread[:, :, i, j]
    return (np.ascontiguousarray(over.cropped(padded)),)


def maxpool(op: MaxPool, operands: tuple[Array, ...]) -> tuple[Array, ...]:
    """The largest first, then the first cell that equals it."""
    (input,) = operands
    over = op.windows(input.shape[-2:])
    cells = list(over.taps(over.padded(input, -np.inf)))
    best = cells[0][2].copy()
    for _, _, tap in cells[1:]:
        np.maximum(best, tap, out=best)
    if not np.isfinite(best).all():
        return op.evaluate(operands)  # which cell stands for NaN or minus infinity is settled there
    argmax = np.empty(best.shape, WHOLE_DTYPES[op.argmax_dtype])
    for i, j, tap in reversed(cells):
        np.copyto(argmax, i * op.size[1] + j, where=tap == best)
    return best, argmax


def power(scale: Array, beta: float) -> Array:
    """scale^-beta; by square roots for the 0.75 that everybody uses."""
    if beta != 0.75:
        return np.asarray(scale**-beta)
    root = np.sqrt(1 / scale)
    root *= np.sqrt(root)
    return np.asarray(root)


def normalize(op: LrnAttributes | LocalNormAttributes, operands: tuple[Array, ...]) -> tuple[Array, ...]:
    """a s^-beta, some images at a time, so that what comes between stays in the cache."""
    (input,) = operands
    out = np.empty_like(input)
    for images in shares(len(input), input[0].nbytes):
        part = input[images]
        np.multiply(part, power(op.k + op.alpha * op.sums(part * part), op.beta), out=out[images])
    return (out,)


def normalize_grad(op: LrnAttributes | LocalNormAttributes, operands: tuple[Array, ...]) -> tuple[Array, ...]:
    """g s^-beta - 2 alpha beta a (sum over the window of g a s^(-beta - 1)), some images at a time."""
    grad_output, input = operands
    out = np.empty_like(input)
    for images in shares(len(input), input[0].nbytes):
        part = input[images]
        scale = op.k + op.alpha * op.sums(part * part)
        direct = grad_output[images] * power(scale, op.beta)
        carried = direct * part
        carried /= scale
        indirect = op.sums(carried)
        indirect *= part
        indirect *= 2 * op.alpha * op.beta
        np.subtract(direct, indirect, out=out[images])
    return (out,)


def sgd(op: Sgd, operands: tuple[Array, ...]) -> tuple[Array, ...]:
    """The update with two temporaries of the parameter's size."""
    parameter, velocity, gradient, lr, momentum, weight_decay, lr_mult, decay_mult = operands
    step = parameter * (weight_decay * decay_mult)
    step += gradient
    step *= lr * lr_mult
    moved = velocity * momentum
    moved -= step
    np.add(parameter, moved, out=step)
    return step, moved


def _copied(kernel):
    def run(op, operands, outs, scratch):
        for out, result in zip(outs, kernel(op, operands), strict=True):
            np.copyto(out, result)

    return Kernel(running(run))


KERNELS: Mapping[type[Op], Kernel] = {
    Conv: _copied(conv),
    ConvGradInput: _copied(conv_grad_input),
    ConvGradWeight: _copied(conv_grad_weight),
    MaxPool: _copied(maxpool),
    Lrn: _copied(normalize),
    LrnGrad: _copied(normalize_grad),
    LocalNorm: _copied(normalize),
    LocalNormGrad: _copied(normalize_grad),
    Sgd: _copied(sgd),
}
"""What this backend brings; all other ops run by their own meaning."""
