"""Fully connected layers and their gradients: matrix products in register tiles, and what is fused behind them.

From batches of some 32 on these beat NumPy's BLAS (`benchmarks/cpu.py --only products`), and no threads of another
library wait beside those of the kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alexnet_ir.backends.cpu.isa import Isa
from alexnet_ir.backends.cpu.site import C, Emit, Site, kernel
from alexnet_ir.backends.emission.commands import Call, Emission, Kernel
from alexnet_ir.backends.emission.epilogue import NONE, Epilogue
from alexnet_ir.backends.emission.site import Workspace, round_up
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.dense import Fc, FcGradInput, FcGradWeight

CACHED = 96 * 1024
"""Floats that are to stay in a core's second cache."""


@dataclass(frozen=True)
class Tile:
    """Sums in registers: `rows` x `vectors` vectors."""

    rows: int
    vectors: int
    block: int
    """Columns."""

    @staticmethod
    def of(isa: Isa) -> Tile:
        """As large as leaves room for a row of the one operand and an element of the other."""
        return Tile(12 if isa.registers >= 32 else 6, 2, 2 * isa.width)

    @property
    def constants(self) -> dict[str, int]:
        """Of kernels/dense_tile.c."""
        return {"ROWS": self.rows, "VECTORS": self.vectors}


def _kernel(site: Site, name: str, epilogue: Epilogue = NONE) -> Kernel:
    tile = Tile.of(site.isa)
    return kernel(
        f"{name}.c",
        name,
        site.isa,
        constants=tile.constants,
        generated=epilogue.source(C),
        before=("dense_tile.c",),
    )


def _depth(width: int, most: int) -> int:
    """How many rows of so many floats the cache holds; a multiple of 64."""
    return max(256, min(most, CACHED // width // 64 * 64))


def fc(site: Site, epilogue: Epilogue) -> Emission:
    """input weight^T."""
    (x, w), (y,), workspace = site.operands, site.results, Workspace()
    (images, channels), kernels = x.shape, w.shape[0]
    wide = round_up(images, Tile.of(site.isa).block)
    panels, sums = workspace.take(4 * wide * channels), workspace.take(4 * wide * kernels)
    counts = map(np.int32, (images, channels, kernels, _depth(wide, 1024)))
    call = Call(_kernel(site, "fc", epilogue), (*counts, x.place, w.place, y.place, panels, sums, *epilogue.arguments))
    return Emission((call,), workspace.nbytes)


def fc_grad_input(site: Site, epilogue: Epilogue) -> Emission:
    """grad_output weight."""
    (dy, w), (dx,), workspace = site.operands, site.results, Workspace()
    (images, kernels), channels = dy.shape, w.shape[1]
    depth, group = 256, CACHED // 256 // Tile.of(site.isa).block
    tiles = workspace.take(4 * images * kernels)
    buffers = workspace.take(4 * site.threads * depth * group * Tile.of(site.isa).block)
    counts = map(np.int32, (images, channels, kernels, depth, group))
    places = dy.place, w.place, dx.place, tiles, buffers
    call = Call(_kernel(site, "fc_grad_input", epilogue), (*counts, *places, *epilogue.arguments))
    return Emission((call,), workspace.nbytes)


def fc_grad_weight(site: Site, epilogue: Epilogue) -> Emission:
    """grad_output^T input."""
    assert not epilogue.ops
    (dy, x), (dw,), workspace = site.operands, site.results, Workspace()
    (images, channels), kernels = x.shape, dy.shape[1]
    block = Tile.of(site.isa).block
    tiles, panels = workspace.take(4 * images * kernels), workspace.take(4 * images * round_up(channels, block))
    group = max(1, CACHED // images // block)
    counts = map(np.int32, (images, channels, kernels, group))
    call = Call(_kernel(site, "fc_grad_weight"), (*counts, dy.place, x.place, dw.place, tiles, panels))
    return Emission((call,), workspace.nbytes)


EMITTERS: dict[type[Op], Emit] = {Fc: fc, FcGradInput: fc_grad_input, FcGradWeight: fc_grad_weight}
"""By the class of op."""
