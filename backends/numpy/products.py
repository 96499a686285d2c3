"""Kernels of convolutions, fully connected and locally connected layers: products, written where the result belongs."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from alexnet_ir.backends.kernel import Arrays, Kernel, Types, running
from alexnet_ir.backends.numpy import pieces
from alexnet_ir.backends.numpy.pieces import shares
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops.conv import Conv, ConvAttributes, ConvGradInput, ConvGradWeight
from alexnet_ir.ops.dense import Fc, FcGradInput, FcGradWeight
from alexnet_ir.ops.window import Windows


def unrolled(over: Windows, padded: Array) -> Array:
    """A view [n, channels, rows, columns, output rows, output columns] of every window of `padded`."""
    n, c = padded.shape[:2]
    sn, sc, sh, sw = padded.strides
    (dh, dw), (th, tw) = over.dilation, over.stride
    strides = (sn, sc, sh * dh, sw * dw, sh * th, sw * tw)
    return as_strided(padded, (n, c, *over.size, *over.output), strides, writeable=False)


def is_padded(over: Windows) -> bool:
    """Whether windows read beyond the map."""
    return any(map(any, over.pad)) or any(over.extra)


def padded_size(over: Windows) -> tuple[int, int]:
    """Rows and columns of a map with all that windows read around it."""
    rows, columns = (over.input[a] + sum(over.pad[a]) + over.extra[a] for a in range(2))
    return rows, columns


def is_plain(over: Windows) -> bool:
    """Whether the windows are the map's cells as they lie."""
    return over.size == (1, 1) and over.output == over.input and not is_padded(over)


class _Columns:
    """How a convolution's input [n, channels, rows, columns] is unrolled: some images and one group at a time."""

    def __init__(self, op: ConvAttributes, over: Windows, images: int, channels: int) -> None:
        self.groups, self.over, self.images, self.channels = op.groups, over, images, channels // op.groups
        self.taps, self.pixels = self.channels * math.prod(over.size), math.prod(over.output)
        self.together = pieces.at_a_time(images, 4 * self.taps * self.pixels, pieces.COLUMN_BYTES)

    @property
    def columns(self) -> tuple[TensorType, ...]:
        """Scratch for the columns of some images."""
        return () if is_plain(self.over) else (f32(self.together, self.taps, self.pixels),)

    def padded(self, channels: int) -> tuple[TensorType, ...]:
        """Scratch for so many channels of some images with their padding, if they have any."""
        return (f32(self.together, channels, *padded_size(self.over)),) if is_padded(self.over) else ()

    @property
    def scratch(self) -> tuple[TensorType, ...]:
        """What `chunks` needs."""
        return (*self.columns, *self.padded(self.channels * self.groups))

    def chunks(self, input: Array, scratch: Arrays) -> Iterator[tuple[slice, int, Array]]:
        """(images, group, their columns [images, taps, pixels])."""
        for array in scratch[1:]:
            array.fill(0)
        for images in shares(self.images, self.together):
            maps = input[images]
            for array in scratch[1:]:
                padded = array[: len(maps)]
                self.over.cropped(padded)[...] = maps
                maps = padded
            for group in range(self.groups):
                yield images, group, self._unroll(maps[:, group * self.channels :][:, : self.channels], scratch[:1])

    def _unroll(self, maps: Array, scratch: Arrays) -> Array:
        if not scratch:
            return maps.reshape(len(maps), self.taps, self.pixels)
        windows, columns = unrolled(self.over, maps), scratch[0][: len(maps)]
        np.copyto(columns.reshape(windows.shape), windows)
        return columns


def _of_conv(op: Conv, input: tuple[int, ...], weight: tuple[int, ...]) -> _Columns:
    return _Columns(op, op.windows((input[2], input[3]), (weight[2], weight[3])), *input[:2])


def conv(op: Conv, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """Kernels times unrolled windows."""
    input, weight = operands
    kernels = weight.reshape(op.groups, len(weight) // op.groups, -1)
    out = outs[0].reshape(len(input), op.groups, kernels.shape[1], -1)
    for images, group, columns in _of_conv(op, input.shape, weight.shape).chunks(input, scratch):
        np.matmul(kernels[group], columns, out=out[images, group])


def conv_scratch(op: Conv, operands: Types, results: Types) -> tuple[TensorType, ...]:
    """Columns and padding of some images."""
    return _of_conv(op, operands[0].shape, operands[1].shape).scratch


def _of_grad_weight(op: ConvGradWeight, input: tuple[int, ...]) -> _Columns:
    return _Columns(op, op.windows((input[2], input[3]), op.size), *input[:2])


def conv_grad_weight(op: ConvGradWeight, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """Gradients times unrolled windows, summed over the images."""
    grad_output, input = operands
    products, total, *rest = scratch
    grads = grad_output.reshape(len(grad_output), op.groups, grad_output.shape[1] // op.groups, -1)
    out = outs[0].reshape(op.groups, grads.shape[2], -1)
    out.fill(0)
    for images, group, columns in _of_grad_weight(op, input.shape).chunks(input, rest):
        part = products[: len(columns)]
        np.matmul(grads[images, group], columns.transpose(0, 2, 1), out=part)
        np.add.reduce(part, axis=0, out=total)
        out[group] += total


def conv_grad_weight_scratch(op: ConvGradWeight, operands: Types, results: Types) -> tuple[TensorType, ...]:
    """A product for each of some images, their sum, and what unrolling needs."""
    columns = _of_grad_weight(op, operands[1].shape)
    kernels = operands[0].shape[1] // op.groups
    return f32(columns.together, kernels, columns.taps), f32(kernels, columns.taps), *columns.scratch


def _of_grad_input(op: ConvGradInput, grad: tuple[int, ...], weight: tuple[int, ...]) -> _Columns:
    return _Columns(op, op.windows(op.input_size, (weight[2], weight[3])), grad[0], weight[1] * op.groups)


def conv_grad_input(op: ConvGradInput, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """Kernels times gradients, each cell of the window added to where it was read."""
    grad_output, weight = operands
    columns = _of_grad_input(op, grad_output.shape, weight.shape)
    kernels = weight.reshape(op.groups, len(weight) // op.groups, -1).transpose(0, 2, 1)
    grads = grad_output.reshape(len(grad_output), op.groups, kernels.shape[2], -1)
    for images in shares(columns.images, columns.together):
        for group in range(op.groups):
            maps = outs[0][images, group * columns.channels : (group + 1) * columns.channels]
            if is_plain(columns.over):
                np.matmul(kernels[group], grads[images, group], out=maps.reshape(len(maps), columns.taps, -1))
                continue
            spread = scratch[0][: len(maps)]
            np.matmul(kernels[group], grads[images, group], out=spread)
            _gather(columns.over, spread, maps, scratch[1:])


def _gather(over: Windows, spread: Array, maps: Array, padded: Arrays) -> None:
    """Add the windows [n, channels rows columns, pixels] up to the maps that they were read from."""
    windows = spread.reshape(*maps.shape[:2], *over.size, *over.output)
    target = padded[0][: len(maps)] if padded else maps
    target[...] = 0
    for i, j, tap in over.taps(target):
        np.add(tap, windows[:, :, i, j], out=tap)
    if padded:
        maps[...] = over.cropped(target)


def conv_grad_input_scratch(op: ConvGradInput, operands: Types, results: Types) -> tuple[TensorType, ...]:
    """The windows of some images, and their maps with padding, a group at a time."""
    columns = _of_grad_input(op, operands[0].shape, operands[1].shape)
    return (*columns.columns, *columns.padded(columns.channels))


KERNELS: dict[type[Op], Kernel] = {
    Conv: Kernel(running(conv), conv_scratch),
    ConvGradWeight: Kernel(running(conv_grad_weight), conv_grad_weight_scratch),
    ConvGradInput: Kernel(running(conv_grad_input), conv_grad_input_scratch),
    Fc: Kernel(running(lambda op, operands, outs, _: np.matmul(operands[0], operands[1].T, out=outs[0]))),
    FcGradInput: Kernel(running(lambda op, operands, outs, _: np.matmul(operands[0], operands[1], out=outs[0]))),
    FcGradWeight: Kernel(running(lambda op, operands, outs, _: np.matmul(operands[0].T, operands[1], out=outs[0]))),
}
"""By the class of op."""
