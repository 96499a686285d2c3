"""Local response normalisation across maps and within each, its gradients, and with the max pooling behind it in one
kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alexnet_ir.backends.cuda.emitters.map_tiles import Tiling
from alexnet_ir.backends.cuda.emitters.pooling import max_pooled, max_pooled_back
from alexnet_ir.backends.cuda.emitters.units import (
    IMAGES,
    THREADS,
    Constants,
    Units,
    counted,
    said,
    specialised,
    unit_by_unit,
    units,
    warps,
)
from alexnet_ir.backends.cuda.site import Emit, EmitFused, Site
from alexnet_ir.backends.emission.commands import Emission, Launch, Tensor
from alexnet_ir.backends.emission.epilogue import NONE, Epilogue
from alexnet_ir.backends.emission.site import Workspace
from alexnet_ir.backends.emission.windows import (
    across_constants,
    half_within,
    pooled_back,
    window_constants,
    within_constants,
)
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.fused import Fused
from alexnet_ir.ops.normalize import LocalNorm, LocalNormAttributes, LocalNormGrad, Lrn, LrnAttributes, LrnGrad
from alexnet_ir.ops.pool import MaxPool

ACROSS, WITHIN = ("scale.cu", "across.cu"), ("scale.cu", "within.cu")
MOST_ELEMENTS = 16
"""Of a thread of kernels/lrn_tile.cu, which keeps two numbers of each in registers."""


# --- forward ----------------------------------------------------------------------------------------------------------


def normalized(op: Lrn | LocalNorm, x: Tensor, y: Tensor, epilogue: Epilogue = NONE) -> Emission:
    """Either normalisation, of these tensors."""
    return unit_by_unit("lrn" if isinstance(op, Lrn) else "local_norm", {"X": x}, {"Y": y}, *_around(op, x), epilogue)


def _around(op: LrnAttributes | LocalNormAttributes, x: Tensor) -> tuple[int, Constants, Sequence[str]]:
    """Of how many channels units are a part, and the constants and functions by which kernels know the window."""
    channels = x.shape[1]
    if isinstance(op, LrnAttributes):
        return channels // op.groups, across_constants(op, channels), ACROSS
    return channels, within_constants(op, x.shape), WITHIN


def lrn(site: Site, epilogue: Epilogue) -> Emission:
    """input."""
    assert isinstance(site.op, Lrn | LocalNorm)
    return normalized(site.op, site.operands[0], site.results[0], epilogue)


def lrn_maxpool(site: Site) -> Emission:
    """input -> pooled and, if anybody reads it, argmax. Within maps, or if no tile fits: one kernel after the other."""
    assert isinstance(site.op, Fused)
    norm, pool = (part.op for part in site.op.parts)
    assert isinstance(pool, MaxPool)
    assert isinstance(norm, Lrn | LocalNorm)
    together = _in_tiles(site, norm, pool) if isinstance(norm, Lrn) else None
    return together or _one_by_one(site, norm, pool)


def _in_tiles(site: Site, norm: Lrn, pool: MaxPool) -> Emission | None:
    (x,), (y, *argmax) = site.operands, site.results
    tensors = dict(zip("XYA", (x, y, *argmax), strict=False))
    channels = x.shape[1]
    over = units(list(tensors.values()), channels // norm.groups)
    constants = {**across_constants(norm, channels), **window_constants(pool, x.shape, y.shape), "MAP_C": channels}
    assert pool.stride is not None
    tiling = Tiling(over, channels, (y.shape[2], y.shape[3]), pool.size, pool.stride, norm.reach)
    tile = tiling.best(site.gpu.shared)
    if tile is None:
        return None
    files = (*ACROSS, "windows.cu", "tile.cu", "argmax.cu" if argmax else "no_argmax.cu")
    made = specialised("lrn_maxpool", tensors, over, {**constants, **tile.constants}, files)
    block = min(THREADS, warps(tile.nbytes // 4 // over.width))
    grid = (tiling.blocks(tile), min(x.shape[0], IMAGES), 1)
    launch = Launch(made, grid, (block, 1, 1), tuple(t.place for t in tensors.values()), tile.nbytes)
    size = f"{counted(tile.channels)} of {tile.height} x {tile.width} windows a block"
    return Emission((launch,), reason=f"{size}, normalised in {tile.nbytes} bytes of shared memory")


def _one_by_one(site: Site, norm: Lrn | LocalNorm, pool: MaxPool) -> Emission:
    (x,), (y, *argmax) = site.operands, site.results
    workspace = Workspace()
    between = workspace.tensor(x.shape, Layout("f32", x.layout.channels_last))
    dtype = pool.argmax_dtype
    assert dtype in ("u8", "i32")
    unread = [] if argmax else [workspace.tensor(y.shape, Layout(dtype, y.layout.channels_last))]
    first, second = normalized(norm, x, between), max_pooled(pool, between, y, *argmax, *unread)
    return Emission((*first.commands, *second.commands), workspace.nbytes, f"one after the other: {second.reason}")


# --- gradients --------------------------------------------------------------------------------------------------------


def lrn_grad(site: Site, epilogue: Epilogue) -> Emission:
    """grad_output, input."""
    assert isinstance(site.op, LrnGrad)
    (g, x), (y,) = site.operands, site.results
    in_tiles = _pixel_tiles("lrn_grad", {"G": g, "X": x, "Y": y}, site, site.op, {}, (), epilogue)
    return in_tiles or _through_memory(site.op, g, x, y, epilogue, Workspace())


def maxpool_lrn_grad(site: Site) -> Emission:
    """grad_output of the pooling, argmax, the normalisation's input, and perhaps what a mask is made of."""
    back = pooled_back(site)
    g, argmax, x, y, epilogue = back.g, back.argmax, back.x, back.y, back.epilogue
    constants = window_constants(back.pool, y.shape, g.shape)
    tensors, files = {"G": g, "A": argmax, "X": x, "Y": y}, ("windows.cu", "gather.cu")
    if in_tiles := _pixel_tiles("maxpool_lrn_grad", tensors, site, back.norm, constants, files, epilogue):
        return in_tiles
    workspace = Workspace()
    between = workspace.tensor(y.shape, Layout("f32", g.layout.channels_last))
    first, second = (
        max_pooled_back(back.pool, g, argmax, between),
        _through_memory(back.norm, between, x, y, epilogue, workspace),
    )
    return replace(second, commands=(*first.commands, *second.commands))


def _pixel_tiles(
    name: str,
    tensors: dict[str, Tensor],
    site: Site,
    op: LrnGrad,
    constants: Constants,
    files: Sequence[str],
    epilogue: Epilogue,
) -> Emission | None:
    """Blocks of all channels of some pixels: kernels/lrn_tile.cu; none if there are too many channels for that."""
    n, channels, height, width = tensors["X"].shape
    over = units(list(tensors.values()), channels // op.groups)
    pixels = _pixels(over, channels, height * width)
    count = pixels * channels // over.width
    turns = -(-count // (2 * THREADS))
    threads = warps(-(-count // turns))
    shared = 4 * pixels * channels
    if shared > site.gpu.shared or turns * over.width > MOST_ELEMENTS:
        return None
    sizes = {"PIXELS": pixels, "TURNS": turns, "THREADS": threads}
    every = {**across_constants(op, channels), **constants, **sizes}
    made = specialised(name, tensors, over, every, (*ACROSS, *files, "lrn_tile.cu"), epilogue)
    grid = (-(-height * width // pixels), min(n, IMAGES), 1)
    places = tuple(tensor.place for tensor in tensors.values())
    launch = Launch(made, grid, (threads, 1, 1), (*places, *epilogue.arguments), shared)
    return Emission((launch,), reason=f"{said(over, 'a thread')}, {pixels} pixels a block")


def _pixels(over: Units, channels: int, pixels: int) -> int:
    """Of a block: enough for its threads and, where pixels lie side by side, a stretch of memory of them."""
    if over.last:
        return min(pixels, max(1, THREADS * over.width // channels))
    return min(pixels, 32, 1 << (max(1, 4096 // channels).bit_length() - 1))


def local_norm_grad(site: Site, epilogue: Epilogue) -> Emission:
    """grad_output, input."""
    assert isinstance(site.op, LocalNormGrad)
    (g, x), (y,) = site.operands, site.results
    n, channels, height, width = x.shape
    tensors = {"G": g, "X": x, "Y": y}
    over = units(list(tensors.values()), channels)
    half = half_within(site.op, x.shape)
    size = 2 * half + 1
    tiling = Tiling(over, channels, (height, width), (size, size), (1, 1))
    tile = tiling.best(site.gpu.shared)
    if tile is None:
        return _through_memory(site.op, g, x, y, epilogue, Workspace())
    constants = {
        **within_constants(site.op, x.shape), **tile.constants, "SIZE_H": size, "SIZE_W": size, "STRIDE_H": 1,
        "STRIDE_W": 1, "MAP_C": channels, "POOLED_H": height, "POOLED_W": width,
    }  # fmt: skip
    made = specialised("local_norm_grad", tensors, over, constants, (*WITHIN, "tile.cu"), epilogue)
    block = min(THREADS, warps(tile.nbytes // 4 // over.width))
    grid = (tiling.blocks(tile), min(n, IMAGES), 1)
    launch = Launch(made, grid, (block, 1, 1), (g.place, x.place, y.place, *epilogue.arguments), tile.nbytes)
    return Emission((launch,), reason=f"{counted(tile.channels)} of {tile.height} x {tile.width} pixels a block")


def _through_memory(
    op: LrnGrad | LocalNormGrad, g: Tensor, x: Tensor, y: Tensor, epilogue: Epilogue, workspace: Workspace
) -> Emission:
    """What shared memory is too small for: kernels/norm_grad_passed.cu, then norm_grad_summed.cu."""
    passed = workspace.tensor(x.shape, Layout("f32", x.layout.channels_last))
    operands, around = {"G": g, "X": x}, _around(op, x)
    first = unit_by_unit("norm_grad_passed", operands, {"P": passed}, *around)
    second = unit_by_unit("norm_grad_summed", {**operands, "P": passed}, {"Y": y}, *around, epilogue)
    reason = f"in two kernels, as a window does not fit into shared memory: {second.reason}"
    return Emission((*first.commands, *second.commands), workspace.nbytes, reason)


EMITTERS: dict[type[Op], Emit] = {
    Lrn: lrn,
    LrnGrad: lrn_grad,
    LocalNorm: lrn,
    LocalNormGrad: local_norm_grad,
}
FUSED: dict[str, EmitFused] = {"lrn_maxpool": lrn_maxpool, "maxpool_lrn_grad": maxpool_lrn_grad}
