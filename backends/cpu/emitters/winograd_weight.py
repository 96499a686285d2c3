"""The gradient of a convolution's filters by Winograd's algorithm: see kernels/winograd_weight.c."""

from __future__ import annotations

import numpy as np

from alexnet_ir.backends.cpu.emitters.pointwise import computed
from alexnet_ir.backends.cpu.emitters.winograd import (
    Blocks,
    constants,
    ints,
    maps,
    most_tiles,
    step,
    tiles_of,
    transformed,
)
from alexnet_ir.backends.cpu.site import Site, kernel
from alexnet_ir.backends.cpu.winograd import Winograd, line, transposed
from alexnet_ir.backends.emission.commands import Call, Command, Emission
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.backends.emission.site import Workspace, round_up
from alexnet_ir.ops.conv import ConvGradWeight

OWN_SUMS = 4 * 2**20
"""Bytes of the sums that each thread may have its own of: then threads wait for one another only at the end."""
MOST_BYTES = 32 * 2**20
"""Of a block that all threads share, transformed."""
FEWEST_TILES = 48
"""Of a block that is a thread's own, unless there are no more."""


def filter_gradient(site: Site, epilogue: Epilogue, algorithm: Winograd) -> Emission:
    """The sums over all tiles, and what is done to each of them after."""
    op, (gradient, x), (result,), width = site.op, site.operands, site.results, site.isa.width
    assert isinstance(op, ConvGradWeight)
    kernels, channels = gradient.shape[1] // op.groups, x.shape[1] // op.groups
    sums = 4 * algorithm.products * (op.groups * round_up(kernels, width) * round_up(channels, step(site.isa)) + width)
    deep = op.groups * round_up(kernels, 2 * width)
    tile = 4 * algorithm.products * (x.shape[1] + deep)
    tiles = tiles_of(algorithm, x.shape[0], (gradient.shape[2], gradient.shape[3]))
    blocks = blocks_of(tiles, tile, sums, site.threads)
    workspace = Workspace()
    of_tiles = transformed(algorithm, blocks.tiles, (x.shape[1],), width)
    of_tiles += 4 * algorithm.products * (blocks.tiles * deep + width)
    scratch = workspace.take(blocks.count * (sums + of_tiles))
    source = kernel(
        "winograd_weight.c",
        "winograd_weight",
        site.isa,
        constants={**constants(algorithm, site.isa), "WEIGHT": True},
        generated=line("data", algorithm.data)
        + line("gradient", transposed(algorithm.output))
        + line("weight", transposed(algorithm.filter)),
        before=("winograd_tiles.c",),
    )
    of_gradient = (*ints(x.shape[0]), *maps(gradient), *ints(gradient.shape[1]))
    of_x = (*maps(x), *ints(x.shape[1], op.pad[0][0], op.pad[1][0]))
    of_result = (result.place, *map(np.int64, result.strides), *ints(op.groups))
    call = Call(source, (*of_gradient, *of_x, *of_result, scratch, *ints(blocks.tiles, blocks.together)))
    after: tuple[Command, ...] = (computed(site, result, result, epilogue),) if epilogue.ops else ()
    return Emission((call, *after), workspace.nbytes, algorithm.about)


def blocks_of(tiles: int, tile: int, sums: int, threads: int) -> Blocks:
    """Of tiles and sums of so many bytes. Sums are read and written for each block, filters would be read."""
    if sums <= OWN_SUMS and tiles >= FEWEST_TILES * threads:
        rounds = -(-tiles // (most_tiles(tile, 3 * sums // 2, MOST_BYTES) * threads))
        return Blocks(-(-tiles // (rounds * threads)), False, threads)
    most = most_tiles(tile, MOST_BYTES, MOST_BYTES)
    return Blocks(-(-tiles // -(-tiles // most)), True, 1)
