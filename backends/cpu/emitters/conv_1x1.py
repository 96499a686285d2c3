"""Convolution by 1 x 1 windows and its input gradient: one matrix product over all pixels of a batch.

All lengths are arguments, so that layers share their kernels.
"""

from __future__ import annotations

import math

import numpy as np

from alexnet_ir.backends.cpu.emitters.products import Tile
from alexnet_ir.backends.cpu.emitters.winograd import ANY_LAYER, flattened
from alexnet_ir.backends.cpu.site import Site, kernel
from alexnet_ir.backends.emission.commands import Call, Command, Emission, Place
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.backends.emission.site import INTS, Workspace, round_up
from alexnet_ir.ops.conv import ConvAttributes, ConvGradInput
from alexnet_ir.ops.dropout import Dropout

PIXELS = 8
"""Rows of tiles that a thread takes at a time."""


def takes(site: Site, epilogue: Epilogue) -> bool:
    """Whether it is one product: channels lie side by side, and the epilogue need not know where a pixel is."""
    op, (x, weight), (result,) = site.op, site.operands, site.results
    assert isinstance(op, ConvAttributes)
    is_plain = op.groups == 1 and op.stride == (1, 1) and weight.shape[2:] == (1, 1) and x.shape[2:] == result.shape[2:]
    last = x.layout.channels_last and result.layout.channels_last
    return is_plain and last and math.prod(result.shape) < INTS and (_by_channel(epilogue) or _flat(site, epilogue))


def _by_channel(epilogue: Epilogue) -> bool:
    is_dropped = any(isinstance(part.op, Dropout) for part in epilogue.ops)
    return not is_dropped and all(len(tensor.shape) <= 1 for tensor in epilogue.tensors)


def _flat(site: Site, epilogue: Epilogue) -> bool:
    return flattened(epilogue, site.results[0]) is not None


def convolution(site: Site, epilogue: Epilogue) -> Emission:
    """The convolution, or the input gradient: that is one of the output's gradient with kernels for channels."""
    (x, _), (result,), workspace = site.operands, site.results, Workspace()
    channels, kernels, tile = x.shape[1], result.shape[1], Tile.of(site.isa)
    panels = workspace.take(4 * round_up(kernels, tile.block) * channels)
    whole = None if _by_channel(epilogue) else flattened(epilogue, result)
    source = kernel(
        "conv_1x1.c",
        "conv_1x1",
        site.isa,
        constants={**tile.constants, "FLAT": whole is not None},
        generated=(whole or epilogue).source(ANY_LAYER),
        before=("dense_tile.c",),
    )
    pixels, columns = math.prod(result.shape) // kernels, -(-kernels // tile.block)
    parts = max(1, min(columns, 2 * site.threads * PIXELS * tile.rows // pixels))
    counts = np.int64(pixels), np.int32(channels), np.int32(kernels), np.int32(parts)
    call = Call(source, (*counts, x.place, panels, result.place, *epilogue.arguments))
    reason = f"a product over all pixels, {tile.rows} x {tile.vectors} vectors"
    return Emission((call,), workspace.nbytes, reason, (_panels(site, panels),), workspace.nbytes)


def _panels(site: Site, panels: Place) -> Command:
    """Packs the filters. Of the gradient of an input, its channels are what a product has as columns."""
    weight, tile = site.operands[1], Tile.of(site.isa)
    lengths, steps = weight.shape[:2], weight.strides[:2]
    if isinstance(site.op, ConvGradInput):
        lengths, steps = lengths[::-1], steps[::-1]
    source = kernel("panels.c", "panels", site.isa, constants=tile.constants, before=("dense_tile.c",))
    return Call(source, (weight.place, *map(np.int32, lengths), *map(np.int64, steps), panels))
