"""Blocks of a map's cells folded into channels, where a convolution has few of these: kernels/space_to_depth.cu."""

from __future__ import annotations

import math

from alexnet_ir.backends.cuda.site import kernel
from alexnet_ir.backends.emission.commands import Launch, Tensor
from alexnet_ir.backends.emission.site import Workspace, both, round_up
from alexnet_ir.ir.attributes import Pair
from alexnet_ir.ir.layout import STORED_BYTES, Layout

THREADS, VECTOR_BYTES = 256, 16


def vector(layout: Layout) -> int:
    """Elements of 16 bytes, by which channels are copied."""
    return VECTOR_BYTES // STORED_BYTES[layout.stored]


def fold_by(taps: Pair, stride: Pair, dilation: Pair, channels: int, multiple: int) -> Pair:
    """The block that a map of few channels is folded by: the stride, if that makes no more to multiply than channels
    filled up to a multiple do."""
    if channels % multiple == 0 or dilation != (1, 1):
        return (1, 1)
    folded = math.prod(_left(taps, stride)) * round_up(channels * math.prod(stride), multiple)
    return stride if folded <= math.prod(taps) * round_up(channels, multiple) else (1, 1)


def _left(taps: Pair, block: Pair) -> Pair:
    rows, columns = (-(-count // step) for count, step in zip(taps, block, strict=True))
    return rows, columns


def folded(
    source: Tensor, block: Pair, pad: Pair, taps: Pair, output: tuple[int, ...], layout: Layout, workspace: Workspace
) -> tuple[Tensor, Pair, Launch]:
    """The map that a convolution of so many taps to `output` rows and columns, a block apart, reads folded, the padding
    part of it; the taps that are left, side by side; and the launch."""
    left = _left(taps, block)
    channels = round_up(source.shape[1] * math.prod(block), vector(layout))
    size = (count + more - 1 for count, more in zip(output, left, strict=True))
    target = workspace.tensor((source.shape[0], channels, *size), layout)
    return target, left, fold(source, target, block, pad)


def fold(source: Tensor, target: Tensor, block: Pair, pad: Pair) -> Launch:
    """The launch that makes `target` [n, channels, rows, columns], channels last, of blocks of `source`, which begin
    `pad` rows and columns before it. Its channels are those of a block's cells, row by row, and then zeros; in all
    of whole vectors."""
    constants = {**both("BLOCK", block), **both("PAD", pad)}
    made = kernel("space_to_depth.cu", "space_to_depth", tensors={"X": source, "Y": target}, constants=constants)
    vectors = math.prod(target.shape) // vector(target.layout)
    return Launch(made, (-(-vectors // THREADS), 1, 1), (THREADS, 1, 1), (source.place, target.place))
