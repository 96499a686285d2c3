"""Direct convolution and its input gradient: sums over taps and channels in register tiles, kernels/direct.c.

The input gradient is one convolution of stride 1 for each residue class of its pixels modulo the stride, which meet the
same taps, the filters flipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from alexnet_ir.backends.cpu.isa import Isa
from alexnet_ir.backends.cpu.site import C, Site, kernel
from alexnet_ir.backends.emission.commands import Call, Emission, Place, Tensor
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.backends.emission.site import Workspace, both, round_up
from alexnet_ir.ops.conv import Conv, ConvAttributes, ConvGradInput

CACHED_BYTES = 256 << 10
"""Of the source rows that a thread works on: they stay in its second cache, beside the filters of a block."""
MOST_CELLS = 10
"""Of a tile. More lose to caches: pixels of many channels lie a power of two apart, in the same few places of them."""
ITEMS = 4
"""Pieces of work for each thread, at least, where there are so many."""


@dataclass(frozen=True)
class Axis:
    """Rows or columns. The p-th of `count` cells of the result, which is cell first + step p, meets the source's cell
    stride p + origin + advance t by tap number `tap + tap_step t` of the filters, for each t below `taps`."""

    first: int
    step: int
    count: int
    stride: int
    origin: int
    advance: int
    taps: int
    tap: int = 0
    tap_step: int = 1

    @property
    def span(self) -> int:
        """Cells of the source from the first to the last that are met."""
        return self.spanned(self.count)

    def spanned(self, count: int) -> int:
        """The same for so many cells of the result."""
        return (count - 1) * self.stride + max(self.taps - 1, 0) * self.advance + 1

    def is_inside(self, length: int) -> bool:
        """Whether no cell that is met is padding."""
        return self.origin >= 0 and self.origin + self.span <= length


Axes = tuple[Axis, Axis]


def forward_axes(op: ConvAttributes, size: tuple[int, ...], output: tuple[int, ...]) -> Axes:
    """Of the output's pixels, over the input."""
    rows, columns = (
        Axis(0, 1, output[a], op.stride[a], -op.pad[a][0], op.dilation[a] if size[a] > 1 else 1, size[a])
        for a in range(2)
    )
    return rows, columns


def gradient_axes(op: ConvAttributes, size: tuple[int, ...], input: tuple[int, ...]) -> list[Axes]:
    """Of the input's pixels, over the gradient of the output: classes of pixels that meet the same taps."""
    rows, columns = (
        [_residue(r, op.stride[a], op.dilation[a], op.pad[a][0], size[a], input[a]) for r in range(op.stride[a])]
        for a in range(2)
    )
    return [(row, column) for row in rows for column in columns if row.count and column.count]


def _residue(residue: int, stride: int, dilation: int, pad: int, size: int, length: int) -> Axis:
    """Cells h with (h + pad) mod stride = residue. They meet cell (h + pad - i dilation) / stride by each tap i for
    which that is whole; the last tap meets the first cell."""
    first = (residue - pad) % stride
    taps = [i for i in range(size) if i * dilation % stride == residue]
    last = taps[-1] if taps else 0
    common = math.gcd(stride, dilation)
    return Axis(
        first,
        step=stride,
        count=len(range(first, length, stride)),
        stride=1,
        origin=(first + pad - last * dilation) // stride,
        advance=dilation // common,
        taps=len(taps),
        tap=last,
        tap_step=-(stride // common),
    )


# --- tiles ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tiles:
    """A line of cells cut into `count` tiles: `wide` ones of `cells`, and others of one less; each x so many vectors of
    channels. All sums of a tile stay in registers."""

    vectors: int
    cells: int
    wide: int
    count: int

    @property
    def constants(self) -> dict[str, int]:
        """For a kernel."""
        narrow = self.cells if self.wide == self.count else self.cells - 1
        return {
            "VECTORS": self.vectors,
            "WIDE": self.cells,
            "NARROW": narrow,
            "TILES": self.count,
            "TILES_WIDE": self.wide,
        }


def vectors_for(channels: int, isa: Isa) -> int:
    """Of a block: few of its channels are zeros, and a filter is read for many sums."""
    cost = {2: 1.0, 3: 1.02, 1: 1.15}
    return min(cost, key=lambda count: cost[count] * round_up(channels, count * isa.width))


def tiles(length: int, vectors: int, isa: Isa) -> Tiles:
    """For a line of so many cells: as few tiles as registers allow."""
    most = min((isa.registers - 1 - vectors) // vectors, MOST_CELLS)
    count = -(-length // most)
    cells = -(-length // count)
    return Tiles(vectors, cells, length - (cells - 1) * count, count)


# --- operands ---------------------------------------------------------------------------------------------------------


def flattened(op: ConvAttributes, size: tuple[int, ...], *tensors: Tensor) -> tuple[Tensor, ...]:
    """Narrow maps as one row, where each pixel of the result meets one, in its place."""
    is_pointwise = tuple(size) == (1, 1) and op.stride == (1, 1) and op.pad == ((0, 0), (0, 0))
    if not is_pointwise or tensors[0].shape[3] >= MOST_CELLS:
        return tensors
    return tuple(replace(t, shape=(*t.shape[:2], 1, t.shape[2] * t.shape[3])) for t in tensors)


def packed(site: Site, axes: Axes, gradient: bool, filters: Place, vectors: int) -> Call:
    """The filters that these pixels meet, as the kernel reads them."""
    assert isinstance(site.op, ConvAttributes)
    weight, groups = site.operands[1], site.op.groups
    kernels, channels = weight.shape[0] // groups, weight.shape[1]
    kernel_step, channel_step, *cell_steps = weight.strides
    targets, depth, steps = kernels, channels, (kernel_step, channel_step)
    if gradient:
        targets, depth, steps = channels, kernels, (channel_step, kernel_step)
    counts = (np.int32(groups), np.int32(targets), np.int32(depth))
    strides = (np.int64(kernels * kernel_step), *map(np.int64, (*steps, *cell_steps)))
    taps = (np.int32(number) for axis in axes for number in (axis.taps, axis.tap, axis.tap_step))
    made = kernel("direct_filters.c", "direct_filters", site.isa, constants={"VECTORS": vectors})
    return Call(made, (weight.place, filters, *counts, *strides, *taps))


def source_constants(x: Tensor, axes: Axes, depth: int) -> dict[str, int | bool]:
    """Of direct_band.c."""
    rows, columns = axes
    has_taps = rows.taps and columns.taps
    return {
        "DEPTH": depth,
        **both("STRIDE", (rows.stride, columns.stride)),
        **both("ORIGIN", (rows.origin, columns.origin)),
        **both("ADVANCE", (rows.advance, columns.advance)),
        **both("TAPS", (rows.taps, columns.taps) if has_taps else (0, 0)),
        "IN_PLACE": not has_taps or (x.strides[1] == 1 and columns.is_inside(x.shape[3])),
        "BAND_W": columns.span,
    }


def most_lines(axes: Axes, depth: int, line_bytes: int = 0) -> int:
    """Lines of the result whose source, and so many bytes more for each, a thread keeps at hand."""
    rows, columns = axes
    return max(
        (n for n in range(2, rows.count + 1) if _held(n, rows, columns, depth) + n * line_bytes <= CACHED_BYTES),
        default=1,
    )


def _held(lines: int, rows: Axis, columns: Axis, depth: int) -> int:
    """Bytes of the source of so many lines."""
    return rows.spanned(lines) * columns.span * depth * 4


def shares(
    images: int, lines: int, most: int, blocks: int, line_bytes: int, filter_bytes: int, threads: int
) -> tuple[int, int]:
    """Lines and parts of the blocks into which an image's work is cut: enough pieces for all threads, and as few bytes
    read by them together as can be."""
    ways = []
    for chunks in range(-(-lines // most), lines + 1):
        parts = min(blocks, max(1, -(-ITEMS * threads // (images * chunks))))
        pieces = min(images * chunks * parts, ITEMS * threads)
        ways.append((-pieces, chunks * filter_bytes + parts * lines * line_bytes, -(-lines // chunks), parts))
    *_, chosen, parts = min(ways)
    return chosen, parts


# --- emission ---------------------------------------------------------------------------------------------------------


def conv(site: Site, epilogue: Epilogue) -> Emission:
    """A convolution."""
    op, (_, weight) = site.op, site.operands
    assert isinstance(op, Conv)
    return _emission(site, epilogue, False, lambda x, y: [forward_axes(op, weight.shape[2:], y.shape[2:])])


def conv_grad_input(site: Site, epilogue: Epilogue) -> Emission:
    """The gradient of a convolution's input."""
    op, (_, weight) = site.op, site.operands
    assert isinstance(op, ConvGradInput)
    return _emission(site, epilogue, True, lambda x, y: gradient_axes(op, weight.shape[2:], y.shape[2:]))


def _emission(
    site: Site, epilogue: Epilogue, gradient: bool, walks: Callable[[Tensor, Tensor], list[Axes]]
) -> Emission:
    """What makes the filters of all classes of pixels, then the pixels."""
    op, (x, weight), (y,) = site.op, site.operands, site.results
    assert isinstance(op, ConvAttributes)
    targets, depth = y.shape[1] // op.groups, x.shape[1] // op.groups
    vectors = vectors_for(targets, site.isa)
    x, y = flattened(op, weight.shape[2:], x, y)
    classes = walks(x, y)
    workspace, block = Workspace(), vectors * site.isa.width
    filters = [
        workspace.take(4 * op.groups * round_up(targets, block) * depth * axes[0].taps * axes[1].taps)
        for axes in classes
    ]
    prologue = tuple(
        packed(site, axes, gradient, place, vectors)
        for axes, place in zip(classes, filters, strict=True)
        if place.nbytes
    )
    kept = workspace.nbytes
    works = [_work(site, x, y, axes, depth, vectors) for axes in classes]
    band = max(work.band for work in works)
    bands = workspace.take(band * site.threads)
    commands = tuple(
        _call(site, x, y, axes, place, bands, work, epilogue)
        for axes, place, work in zip(classes, filters, works, strict=True)
    )
    classed = f", {len(classes)} residue classes" if len(classes) > 1 else ""
    return Emission(commands, workspace.nbytes, f"direct, {works[0]}{classed}", prologue, kept)


@dataclass(frozen=True)
class Work:
    """How a class of pixels is computed; a thread's band takes so many bytes."""

    constants: dict[str, int | bool]
    tiles: Tiles
    lines: int
    parts: int
    band: int

    def __str__(self) -> str:
        return f"{self.tiles.cells} pixels x {self.tiles.vectors} vectors"


def _work(site: Site, x: Tensor, y: Tensor, axes: Axes, depth: int, vectors: int) -> Work:
    rows, columns = axes
    groups, targets = x.shape[1] // depth, y.shape[1] * depth // x.shape[1]
    block = vectors * site.isa.width
    blocks = -(-targets // block)
    constants = source_constants(x, axes, depth)
    line_bytes = rows.stride * columns.span * depth * 4
    filter_bytes = rows.taps * columns.taps * depth * blocks * block * 4
    most = most_lines(axes, depth)
    lines, parts = shares(x.shape[0] * groups, rows.count, most, blocks, line_bytes, filter_bytes, site.threads)
    band = 0 if constants["IN_PLACE"] else round_up(_held(lines, rows, columns, depth), 256)
    return Work(constants, tiles(columns.count, vectors, site.isa), lines, parts, band)


def _call(
    site: Site, x: Tensor, y: Tensor, axes: Axes, filters: Place, bands: Place, work: Work, epilogue: Epilogue
) -> Call:
    rows, columns = axes
    groups = x.shape[1] // int(work.constants["DEPTH"])
    made = kernel(
        "direct.c",
        "direct",
        site.isa,
        tensors={"X": x, "Y": y},
        constants={
            **work.constants,
            **work.tiles.constants,
            "GROUPS": groups,
            "TARGETS": y.shape[1] // groups,
            **both("FIRST", (rows.first, columns.first)),
            **both("STEP", (rows.step, columns.step)),
            "COUNT_H": rows.count,
        },
        generated=epilogue.source(C),
        before=("direct_band.c",),
    )
    counts = (np.int64(work.band // 4), np.int32(work.lines), np.int32(work.parts))
    places = (x.place, filters, y.place, bands)
    return Call(made, (np.int32(x.shape[0]), *places, *counts, *epilogue.arguments))
