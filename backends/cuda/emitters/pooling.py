"""Pooling: windows of maps, whole maps, and their gradients. Gradients gather, so that nothing is added atomically."""

from __future__ import annotations

from alexnet_ir.backends.cuda.emitters.units import IMAGES, THREADS, said, specialised, unit_by_unit, units
from alexnet_ir.backends.cuda.site import Emit, Site
from alexnet_ir.backends.emission.commands import Emission, Launch, Tensor
from alexnet_ir.backends.emission.epilogue import NONE, Epilogue
from alexnet_ir.backends.emission.windows import cell_constants, window_constants
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
)


def max_pooled(op: MaxPool, x: Tensor, y: Tensor, argmax: Tensor) -> Emission:
    """Max pooling of these tensors."""
    constants = window_constants(op, x.shape, y.shape)
    return unit_by_unit("maxpool", {"X": x}, {"Y": y, "A": argmax}, x.shape[1], constants, ["windows.cu"])


def max_pool(site: Site, epilogue: Epilogue) -> Emission:
    """Two results; nothing is fused behind it."""
    assert isinstance(site.op, MaxPool)
    assert not epilogue.ops
    return max_pooled(site.op, site.operands[0], site.results[0], site.results[1])


def max_pooled_back(op: MaxPoolGrad, g: Tensor, argmax: Tensor, y: Tensor, epilogue: Epilogue = NONE) -> Emission:
    """The gradient of max pooling, of these tensors."""
    constants, files = window_constants(op, y.shape, g.shape), ["windows.cu", "gather.cu"]
    return unit_by_unit("maxpool_grad", {"G": g, "A": argmax}, {"Y": y}, y.shape[1], constants, files, epilogue)


def max_pool_grad(site: Site, epilogue: Epilogue) -> Emission:
    """grad_output, argmax."""
    assert isinstance(site.op, MaxPoolGrad)
    (g, argmax), (y,) = site.operands, site.results
    return max_pooled_back(site.op, g, argmax, y, epilogue)


def avg_pool(site: Site, epilogue: Epilogue) -> Emission:
    """input."""
    assert isinstance(site.op, AvgPool)
    (x,), (y,) = site.operands, site.results
    constants = {**window_constants(site.op, x.shape, y.shape), **cell_constants(site.op, x.shape)}
    files = ["windows.cu", "mean_cells.cu", "mean_window.cu"]
    return unit_by_unit("window_sum", {"X": x}, {"Y": y}, x.shape[1], constants, files, epilogue)


def avg_pool_grad(site: Site, epilogue: Epilogue) -> Emission:
    """grad_output."""
    assert isinstance(site.op, AvgPoolGrad)
    (g,), (y,) = site.operands, site.results
    constants = {**window_constants(site.op, y.shape, g.shape), **cell_constants(site.op, y.shape)}
    files = ["windows.cu", "mean_cells.cu"]
    return unit_by_unit("avgpool_grad", {"G": g}, {"Y": y}, y.shape[1], constants, files, epilogue)


def l2_pool(site: Site, epilogue: Epilogue) -> Emission:
    """input."""
    assert isinstance(site.op, L2Pool)
    (x,), (y,) = site.operands, site.results
    constants = window_constants(site.op, x.shape, y.shape)
    files = ["windows.cu", "l2_window.cu"]
    return unit_by_unit("window_sum", {"X": x}, {"Y": y}, x.shape[1], constants, files, epilogue)


def l2_pool_grad(site: Site, epilogue: Epilogue) -> Emission:
    """grad_output, input, output."""
    assert isinstance(site.op, L2PoolGrad)
    (g, x, output), (y,) = site.operands, site.results
    constants, operands = window_constants(site.op, y.shape, g.shape), {"G": g, "X": x, "O": output}
    return unit_by_unit("l2pool_grad", operands, {"Y": y}, y.shape[1], constants, ["windows.cu"], epilogue)


def global_avg_pool(site: Site, epilogue: Epilogue) -> Emission:
    """input; the more threads go along a map's pixels, the more of these there are."""
    (x,), (y,) = site.operands, site.results
    n, channels, height, width = x.shape
    over = units([x], channels)
    pixels = 1 << (height * width - 1).bit_length()
    along = min(32 if over.last else THREADS, pixels)
    across = min(THREADS // along, 32, channels // over.width)
    sizes = {"ALONG": along, "ACROSS": across}
    made = specialised("global_avgpool", {"X": x, "Y": y}, over, sizes, epilogue=epilogue)
    grid = (-(-channels // (across * over.width)), min(n, IMAGES), 1)
    launch = Launch(made, grid, (across * along, 1, 1), (x.place, y.place, *epilogue.arguments))
    return Emission((launch,), reason=f"{said(over, 'a thread')}, {along} threads to a sum")


def global_avg_pool_grad(site: Site, epilogue: Epilogue) -> Emission:
    """grad_output [n, c]."""
    (g,), (y,) = site.operands, site.results
    return unit_by_unit("global_avgpool_grad", {"G": g}, {"Y": y}, y.shape[1], {}, epilogue=epilogue)


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
