"""Pooling: windows of maps, whole maps (windows as large as these), and their gradients. Gradients gather, so that no
thread adds to what another one owns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from alexnet_ir.backends.cpu.site import C, Emit, Site, kernel
from alexnet_ir.backends.emission.commands import Call, Emission, Place, Tensor
from alexnet_ir.backends.emission.epilogue import NONE, Epilogue
from alexnet_ir.backends.emission.site import ALIGNMENT, Workspace, round_up
from alexnet_ir.backends.emission.windows import Constants, cell_constants, window_constants
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.pool import (
    AvgPool,
    AvgPoolGrad,
    GlobalAvgPool,
    GlobalAvgPoolGrad,
    L2Pool,
    L2PoolGrad,
    MaxPool,
    MaxPoolGrad,
    Pool,
)


def called(
    site: Site,
    entry: str,
    operands: Mapping[str, Tensor],
    results: Mapping[str, Tensor],
    constants: Constants,
    before: tuple[str, ...],
    epilogue: Epilogue,
    scratch: int = 0,
    workspace: Workspace | None = None,
) -> Emission:
    """The function `entry` of the file of that name on the images of these tensors, with so many floats of scratch for
    each thread, in a workspace of its own unless one is given."""
    workspace = workspace or Workspace()
    own: tuple[Place, ...] = ()
    if scratch:
        scratch = round_up(scratch, ALIGNMENT // 4)
        own = (workspace.take(4 * scratch * site.threads),)
        constants = {**constants, "SCRATCH": scratch}
    tensors = {**operands, **results}
    made = kernel(
        f"{entry}.c",
        entry,
        site.isa,
        tensors=tensors,
        constants=constants,
        generated=epilogue.source(C),
        before=("pixels.c", *before),
    )
    places = (*own, *(tensor.place for tensor in tensors.values()), *epilogue.arguments)
    images = np.int32(next(iter(tensors.values())).shape[0])
    return Emission((Call(made, (images, *places)),), workspace.nbytes)


def row_columns(op: Pool, maps: tuple[int, ...], pooled: tuple[int, ...]) -> int:
    """Columns of a row of a map with all that windows read around it."""
    assert op.stride is not None
    return max(op.pad[1][0] + maps[3], (pooled[3] - 1) * op.stride[1] + op.size[1])


# --- forward ----------------------------------------------------------------------------------------------------------


def max_pooled(site: Site, op: MaxPool, x: Tensor, results: Sequence[Tensor]) -> Emission:
    """Max pooling of x: y and, if anybody reads it, argmax."""
    constants, named = window_constants(op, x.shape, results[0].shape), dict(zip("YA", results, strict=False))
    return called(site, "maxpool", {"X": x}, named, constants, ("windows.c", "largest.c"), NONE)


def max_pool(site: Site, epilogue: Epilogue) -> Emission:
    """Two results; nothing is fused behind it."""
    assert isinstance(site.op, MaxPool)
    assert not epilogue.ops
    return max_pooled(site, site.op, site.operands[0], site.results)


def avg_pool(site: Site, epilogue: Epilogue) -> Emission:
    """input."""
    assert isinstance(site.op, AvgPool)
    (x,), (y,) = site.operands, site.results
    constants = {**window_constants(site.op, x.shape, y.shape), **cell_constants(site.op, x.shape)}
    return called(site, "window_sum", {"X": x}, {"Y": y}, constants, ("windows.c", "cells.c", "mean.c"), epilogue)


def l2_pool(site: Site, epilogue: Epilogue) -> Emission:
    """input."""
    assert isinstance(site.op, L2Pool)
    (x,), (y,) = site.operands, site.results
    constants = window_constants(site.op, x.shape, y.shape)
    return called(site, "window_sum", {"X": x}, {"Y": y}, constants, ("windows.c", "root.c"), epilogue)


# --- gradients --------------------------------------------------------------------------------------------------------


def _gathered(
    site: Site, operands: Mapping[str, Tensor], constants: Constants, before: tuple[str, ...], epilogue: Epilogue
) -> Emission:
    """The gradient of a pooling, of these operands, the first of which is the gradient that comes in."""
    assert isinstance(site.op, Pool)
    (y,), g = site.results, operands["G"]
    columns = row_columns(site.op, y.shape, g.shape)
    constants = {**window_constants(site.op, y.shape, g.shape), **constants, "ROW_W": columns}
    before = ("windows.c", *before, "gather.c")
    return called(site, "pool_grad", operands, {"Y": y}, constants, before, epilogue, columns * y.shape[1])


def max_pool_grad(site: Site, epilogue: Epilogue) -> Emission:
    """grad_output, argmax."""
    return _gathered(site, dict(zip("GA", site.operands, strict=True)), {}, ("max_passed.c",), epilogue)


def avg_pool_grad(site: Site, epilogue: Epilogue) -> Emission:
    """grad_output."""
    assert isinstance(site.op, AvgPoolGrad)
    cells = cell_constants(site.op, site.results[0].shape)
    return _gathered(site, {"G": site.operands[0]}, cells, ("cells.c", "mean_passed.c"), epilogue)


def l2_pool_grad(site: Site, epilogue: Epilogue) -> Emission:
    """grad_output, input, output."""
    return _gathered(site, dict(zip("GXO", site.operands, strict=True)), {}, ("root_passed.c",), epilogue)


# --- whole maps -------------------------------------------------------------------------------------------------------


def global_avg_pool(site: Site, epilogue: Epilogue) -> Emission:
    """input: one window to a map."""
    (x,), (y,) = site.operands, site.results
    _, _, height, width = x.shape
    at = replace(site, op=AvgPool((height, width)), results=(_as_maps(y),))
    return avg_pool(at, epilogue.reshaped((*y.shape, 1, 1)))


def global_avg_pool_grad(site: Site, epilogue: Epilogue) -> Emission:
    """grad_output [n, c]."""
    (g,), (y,) = site.operands, site.results
    _, _, height, width = y.shape
    op = AvgPoolGrad((height, width), input_size=(height, width))
    at = replace(site, op=op, operands=(_as_maps(g),))
    return avg_pool_grad(at, epilogue)


def _as_maps(vectors: Tensor) -> Tensor:
    """[n, c] as maps of one pixel."""
    return Tensor((*vectors.shape, 1, 1), Layout(vectors.layout.stored, True), vectors.place)


EMITTERS: dict[type[Op], Emit] = {
    MaxPool: max_pool,
    MaxPoolGrad: max_pool_grad,
    AvgPool: avg_pool,
    AvgPoolGrad: avg_pool_grad,
    L2Pool: l2_pool,
    L2PoolGrad: l2_pool_grad,
    GlobalAvgPool: global_avg_pool,
    GlobalAvgPoolGrad: global_avg_pool_grad,
}
"""By the class of op."""
