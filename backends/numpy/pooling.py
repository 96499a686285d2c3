"""Kernels of pooling and its gradients, some images at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from alexnet_ir.backends.kernel import SMALL, Arrays, Kernel, Types, running
from alexnet_ir.backends.numpy.pieces import cut, images_of, shares, some
from alexnet_ir.backends.numpy.products import is_padded, padded_size
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops.pool import (
    AvgPool,
    AvgPoolGrad,
    GlobalAvgPool,
    GlobalAvgPoolGrad,
    MaxPool,
    MaxPoolGrad,
    Pool,
    PoolGrad,
    cells,
)
from alexnet_ir.ops.window import Windows


def _over(op: Pool, maps: tuple[int, ...]) -> Windows:
    return op.windows((maps[2], maps[3]))


def _padding(op: Pool, maps: TensorType) -> tuple[TensorType, ...]:
    """Scratch for some images with their padding, if they have any."""
    over = _over(op, maps.shape)
    return (f32(images_of(maps), maps.shape[1], *padded_size(over)),) if is_padded(over) else ()


def _padded(over: Windows, input: Array, together: int, fill: float, scratch: Arrays) -> Iterator[tuple[slice, Array]]:
    """Some images at a time, and these with what windows read around them."""
    for array in scratch:
        array.fill(fill)
    for images in shares(len(input), together):
        maps = input[images]
        for padded in cut(scratch, images):
            over.cropped(padded)[...] = maps
            maps = padded
        yield images, maps


# --- the largest --------------------------------------------------------------------------------------------------


def maxpool(op: MaxPool, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """The largest first, then the first cell that equals it."""
    (input,), (mask, other, code, *padding) = operands, scratch
    over = _over(op, input.shape)
    for images, maps in _padded(over, input, len(mask), -np.inf, padding):
        best, argmax = cut(outs, slice(0, len(input)))
        best, argmax = best[images], argmax[images]
        equal, strange, codes = cut((mask, other, code), images)
        taps = [tap for _, _, tap in over.taps(maps)]
        np.copyto(best, taps[0])
        for tap in taps[1:]:
            np.maximum(best, tap, out=best)
        if np.isfinite(best, out=equal.view(np.bool_)).all():
            _first_equals(taps, best, argmax, equal, codes)
        else:
            _one_by_one(op.first_cells(over), taps, best, argmax, (equal.view(np.bool_), strange.view(np.bool_)))


def _first_equals(taps: Arrays, best: Array, argmax: Array, equal: Array, codes: Array) -> None:
    """The first cell that equals the largest: cells are numbered from the last, and the greatest number wins."""
    last = argmax.dtype.type(len(taps) - 1)
    argmax.fill(0)
    for number, tap in enumerate(taps):
        np.equal(tap, best, out=equal.view(np.bool_))
        np.multiply(equal, argmax.dtype.type(last - number), out=codes)
        np.maximum(argmax, codes, out=argmax)
    np.subtract(last, argmax, out=argmax)


def _one_by_one(first: Array, taps: Arrays, best: Array, argmax: Array, masks: Arrays) -> None:
    """As the op means it where there is NaN, or nothing but minus infinity."""
    worse, nan = masks
    best.fill(-np.inf)
    argmax[...] = first
    for number, tap in enumerate(taps):
        np.less_equal(tap, best, out=worse)
        np.isnan(best, out=nan)
        np.logical_or(worse, nan, out=worse)
        np.logical_not(worse, out=worse)
        np.copyto(best, tap, where=worse)
        np.copyto(argmax, number, where=worse)


def maxpool_scratch(op: MaxPool, operands: Types, results: Types) -> tuple[TensorType, ...]:
    """For some images two masks, the codes of cells, and padding."""
    argmax = some(results[1], images_of(operands[0]))
    mask = TensorType("u8", argmax.shape)
    return mask, mask, argmax, *_padding(op, operands[0])


def maxpool_grad(op: MaxPoolGrad, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """To each cell the gradients of the windows that it was the largest of; the mask is a factor, so that NaN comes
    through."""
    grad_output, argmax = operands
    share, *padding = scratch
    for images, over, maps in _targets(op, outs[0], len(share), padding):
        grads, which = grad_output[images], argmax[images]
        part = share[: len(grads)]
        for i, j, tap in over.taps(maps):
            np.equal(which, i * op.size[1] + j, out=part)
            np.multiply(part, grads, out=part)
            np.add(tap, part, out=tap)


def _targets(op: PoolGrad, out: Array, together: int, scratch: Arrays) -> Iterator[tuple[slice, Windows, Array]]:
    """Some images at a time, and zeros to scatter their gradients into, which are then where they belong."""
    over = _over(op, out.shape)
    for images in shares(len(out), together):
        (maps,) = cut(scratch, images) or (out[images],)
        maps.fill(0)
        yield images, over, maps
        if scratch:
            out[images] = over.cropped(maps)


def pool_grad_scratch(op: PoolGrad, operands: Types, results: Types) -> tuple[TensorType, ...]:
    """For some images a share of the gradient, and padding."""
    return some(operands[0], images_of(results[0])), *_padding(op, results[0])


# --- the mean -----------------------------------------------------------------------------------------------------


def avgpool(op: AvgPool, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """The sum of the cells over their number."""
    (input,) = operands
    over, together = _over(op, input.shape), len(scratch[0]) if scratch else len(input)
    for images, maps in _padded(over, input, together, 0.0, scratch):
        out = outs[0][images]
        out.fill(0)
        for _, _, tap in over.taps(maps):
            np.add(out, tap, out=out)
    np.divide(outs[0], cells(over, op.count_pad, input), out=outs[0])


def avgpool_grad(op: AvgPoolGrad, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """The gradient over the number of cells, to each of them."""
    (grad_output,) = operands
    share, *padding = scratch
    counts = cells(_over(op, outs[0].shape), op.count_pad, grad_output)
    for images, over, maps in _targets(op, outs[0], len(share), padding):
        part = share[: images.stop - images.start]
        np.divide(grad_output[images], counts, out=part)
        for _, _, tap in over.taps(maps):
            np.add(tap, part, out=tap)


def cells_bytes(op: Pool, operands: Types, results: Types) -> int:
    """One map, padded, and the counts."""
    maps = max((*operands, *results), key=lambda type_: type_.size)
    return SMALL + 8 * (math.prod(padded_size(_over(op, maps.shape))) + math.prod(maps.shape[2:]))


def global_avgpool(op: GlobalAvgPool, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """The mean of each map."""
    np.add.reduce(operands[0], axis=(2, 3), out=outs[0])
    np.divide(outs[0], math.prod(operands[0].shape[2:]), out=outs[0])


def global_avgpool_grad(op: GlobalAvgPoolGrad, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """The gradient over the number of cells."""
    np.divide(operands[0][:, :, None, None], math.prod(op.input_size), out=outs[0])


KERNELS: dict[type[Op], Kernel] = {
    MaxPool: Kernel(running(maxpool), maxpool_scratch),
    MaxPoolGrad: Kernel(running(maxpool_grad), pool_grad_scratch),
    AvgPool: Kernel(running(avgpool), lambda op, operands, results: _padding(op, operands[0]), cells_bytes),
    AvgPoolGrad: Kernel(running(avgpool_grad), pool_grad_scratch, cells_bytes),
    GlobalAvgPool: Kernel(running(global_avgpool)),
    GlobalAvgPoolGrad: Kernel(running(global_avgpool_grad)),
}
"""By the class of op."""
