"""Convolution and its input gradient by Winograd's algorithm: see kernels/winograd.c and winograd_filters.c."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alexnet_ir.backends.cpu.isa import Isa
from alexnet_ir.backends.cpu.site import CDialect, Site, kernel
from alexnet_ir.backends.cpu.winograd import Winograd, line
from alexnet_ir.backends.emission.commands import Argument, Call, Command, Emission, Place, Tensor
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.backends.emission.site import INTS, Workspace, round_up
from alexnet_ir.ir.attributes import Pair
from alexnet_ir.ops.conv import ConvAttributes, ConvGradInput
from alexnet_ir.ops.dropout import Dropout

MOST_BYTES = 12 * 2**20
"""Of a block that a thread has for itself, transformed: two threads' shall stay in a cache of a common size."""
FEW_TILES = 48
"""With fewer to a thread all share one block: each would read all the filters for them."""
FEWEST_TILES = 24
"""Of a block, unless there are no more."""


@dataclass(frozen=True)
class Blocks:
    """How tiles are cut into blocks: of so many, each a thread's own or all threads' together."""

    tiles: int
    together: bool
    count: int
    """Blocks that exist at a time."""


class _AnyLayer(CDialect):
    """Says of a tensor only what its elements are, so that layers of other lengths share a kernel."""

    def tensor(self, name: str, tensor: Tensor) -> str:
        return f"typedef {tensor.layout.stored}_t {name}_T;\n"


ANY_LAYER = _AnyLayer()


def flattened(epilogue: Epilogue, result: Tensor) -> Epilogue | None:
    """The same on the result as one row, which says nothing of maps: where all tensors lie as the result does."""
    alike = all((t.shape, t.layout) == (result.shape, result.layout) for t in epilogue.tensors)
    has_positions = any(isinstance(part.op, Dropout) for part in epilogue.ops)
    count = math.prod(result.shape)
    can_be = result.layout.channels_last and alike and not has_positions and epilogue.ops and count < INTS
    return epilogue.reshaped((count,)) if can_be else None


def step(isa: Isa) -> int:
    """A third of the rows of a product that are summed in registers, beside two vectors of columns."""
    return 4 if isa.registers >= 32 else 2


def tiles_of(algorithm: Winograd, batch: int, maps: Pair) -> int:
    """Of a batch of results."""
    return batch * math.prod(-(-length // algorithm.results) for length in maps)


def most_tiles(tile: int, filters: int, most_bytes: int) -> int:
    """Of a block: as large as the filters, so that reading either for the other takes as long. In bytes."""
    return max(FEWEST_TILES, min(filters, most_bytes) // tile)


def blocks_of(tiles: int, most: int, site: Site) -> Blocks:
    """Evenly over the threads."""
    if tiles < FEW_TILES * site.threads and site.threads > 1:
        return Blocks(round_up(tiles, step(site.isa)), True, 1)
    rounds = -(-tiles // (most * site.threads))
    return Blocks(round_up(-(-tiles // (rounds * site.threads)), step(site.isa)), False, site.threads)


def convolution(site: Site, epilogue: Epilogue, algorithm: Winograd) -> Emission:
    """The convolution, or the input gradient: that is one of the output's gradient with filters turned by half a turn
    and their kernels and channels exchanged."""
    op, (x, weight), (result,), width = site.op, site.operands, site.results, site.isa.width
    assert isinstance(op, ConvAttributes)
    backward = isinstance(op, ConvGradInput)
    outers, inners = result.shape[1] // op.groups, x.shape[1] // op.groups
    pads = [algorithm.taps - 1 - op.pad[a][0] if backward else op.pad[a][0] for a in range(2)]
    workspace, padded = Workspace(), round_up(outers, width)
    upoint = op.groups * padded * inners + width
    filters = workspace.take(4 * algorithm.products * upoint)
    kept = workspace.nbytes
    lengths = (x.shape[1], op.groups * padded)
    most = most_tiles(4 * algorithm.products * sum(lengths), filters.nbytes, MOST_BYTES)
    blocks = blocks_of(tiles_of(algorithm, x.shape[0], (result.shape[2], result.shape[3])), most, site)
    scratch = workspace.take(blocks.count * transformed(algorithm, blocks.tiles, lengths, width))
    flat = flattened(epilogue, result)
    source = kernel(
        "winograd.c",
        "winograd",
        site.isa,
        constants={**constants(algorithm, site.isa), "WEIGHT": False, "FLAT": flat is not None},
        generated=line("data", algorithm.data)
        + line("output", algorithm.output)
        + (flat or epilogue).source(ANY_LAYER),
        before=("winograd_tiles.c",),
    )
    of_x = (*ints(x.shape[0]), *maps(x), *ints(x.shape[1], *pads), filters, np.int64(upoint))
    of_result = (*maps(result), *ints(result.shape[1], op.groups), scratch, *ints(blocks.tiles, blocks.together))
    call = Call(source, (*of_x, *of_result, *epilogue.arguments))
    prologue = (_filters(site, algorithm, weight, filters, upoint),)
    return Emission((call,), workspace.nbytes, algorithm.about, prologue, kept)


def _filters(site: Site, algorithm: Winograd, weight: Tensor, filters: Place, upoint: int) -> Command:
    """Transforms the filters. Of the gradient of an input, its channels are what a product has as columns."""
    assert isinstance(site.op, ConvAttributes)
    groups, backward = site.op.groups, isinstance(site.op, ConvGradInput)
    each, (by_kernel, by_channel, *by_tap) = (weight.shape[0] // groups, weight.shape[1]), weight.strides
    steps = (by_channel, by_kernel) if backward else (by_kernel, by_channel)
    source = kernel(
        "winograd_filters.c",
        "winograd_filters",
        site.isa,
        constants={**constants(algorithm, site.isa), "WEIGHT": False},
        generated=line("filter", algorithm.filter),
        before=("winograd_tiles.c",),
    )
    lengths = ints(groups, *(reversed(each) if backward else each))
    strides = [np.int64(stride) for stride in (by_kernel * each[0], *steps, *by_tap)]
    return Call(source, (weight.place, *lengths, *strides, np.int32(backward), filters, np.int64(upoint)))


def transformed(algorithm: Winograd, tiles: int, channels: Sequence[int], width: int) -> int:
    """Bytes of so many tiles of so many channels each: see `spread` in kernels/winograd_tiles.c."""
    return 4 * algorithm.products * sum(tiles * width * (-(-count // width) | 1) + width for count in channels)


def constants(algorithm: Winograd, isa: Isa) -> dict[str, int]:
    """Of all kernels."""
    return {"M": algorithm.results, "R": algorithm.taps, "A": algorithm.cells, "STEP": step(isa)}


def maps(tensor: Tensor) -> tuple[Argument, ...]:
    """Where maps lie, their size, and their strides."""
    return (tensor.place, *ints(*tensor.shape[2:]), *map(np.int64, tensor.strides))


def ints(*values: int) -> tuple[Argument, ...]:
    """Arguments of type int."""
    return tuple(map(np.int32, values))
