"""Convolution and its input gradient: as implicit GEMM on tensor cores where that can be, plain otherwise."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from alexnet_ir.backends.cuda.emitters import simt
from alexnet_ir.backends.cuda.emitters.relayout import brought, relayout
from alexnet_ir.backends.cuda.emitters.space_to_depth import fold, fold_by, folded, vector
from alexnet_ir.backends.cuda.emitters.tiles import choose
from alexnet_ir.backends.cuda.gpu import MULTIPLIED
from alexnet_ir.backends.cuda.site import CUDA, Emit, Site, kernel
from alexnet_ir.backends.emission.commands import MOST_BLOCKS, Emission, Launch, Tensor
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.backends.emission.site import Workspace, both, round_up
from alexnet_ir.ir.attributes import Pair
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.conv import Conv, ConvAttributes, ConvGradInput

THREADS = 256
MOST_TAPS = 16
"""Along an axis: the kernel keeps a bit of each."""
MOST_ELEMENTS = 2**31 - 2**20
"""Of a tensor, with what lies around it that padding names, and of a tile's filters: offsets are 32 bits."""
MOST_COLUMNS = 256
"""Of a tile."""


@dataclass(frozen=True)
class Walk:
    """How the kernel goes from pixels of the result to those of `x`, through `taps` of the filters."""

    taps: Pair
    stride: Pair
    pad: Pair
    dilation: Pair
    groups: int
    gradient: bool = False

    @property
    def classes(self) -> Pair:
        """Of pixels that meet the same taps."""
        return self.stride if self.gradient else (1, 1)

    @property
    def most_taps(self) -> int:
        """Of a class."""
        return math.prod(-(-taps // classes) for taps, classes in zip(self.taps, self.classes, strict=True))


@dataclass(frozen=True)
class Operands:
    """What the kernel multiplies, what makes it so, and in words how. `rounded` by the kernel: x is stored f32 and
    multiplied as tf32."""

    x: Tensor
    filters: Tensor
    walk: Walk
    launches: tuple[Launch, ...] = ()
    how: str = ""
    rounded: bool = False


# --- where tensor cores do not serve ----------------------------------------------------------------------------------


def plain(site: Site) -> str:
    """Why the plain kernel does this one; nothing if tensor cores can."""
    op, (x, weight), (result,) = site.op, site.operands, site.results
    assert isinstance(op, ConvAttributes)
    channels, multiple = x.shape[1] // op.groups, vector(layout_of(site))
    deep = round_up(channels, multiple)
    filled = max(math.prod(x.shape) // channels * deep, MOST_COLUMNS * math.prod(weight.shape[2:]) * deep)
    spread = any(s > 1 and d > 1 for s, d in zip(op.stride, _dilation(op, weight), strict=True))
    reasons = {
        f"{site.gpu.arch} has no tensor cores for these precisions": not site.gpu.tensor_cores,
        f"{channels} channels a group are no multiple of {multiple}": op.groups > 1 and channels % multiple > 0,
        "more groups, or residue classes, than a grid has blocks": max(op.groups, math.prod(op.stride)) > MOST_BLOCKS,
        f"more than {MOST_TAPS} taps along an axis": max(weight.shape[2:]) > MOST_TAPS,
        "stride and dilation at once": isinstance(op, ConvGradInput) and spread,
        "more elements than 32 bits count": max(filled, math.prod(result.shape)) >= MOST_ELEMENTS,
    }
    return next((why for why, holds in reasons.items() if holds), "")


def layout_of(site: Site) -> Layout:
    """In which operands are multiplied."""
    return Layout(MULTIPLIED[site.precision], channels_last=True)


def _dilation(op: ConvAttributes, weight: Tensor) -> Pair:
    """One tap is not dilated."""
    rows, columns = (d if taps > 1 else 1 for d, taps in zip(op.dilation, weight.shape[2:], strict=True))
    return rows, columns


# --- operands ---------------------------------------------------------------------------------------------------------


def operands(site: Site, workspace: Workspace) -> Operands:
    """The operands, made what the kernel takes where they are not."""
    op, (x, weight) = site.op, site.operands
    assert isinstance(op, ConvAttributes)
    gradient = isinstance(op, ConvGradInput)
    walk = Walk(
        _pair(weight.shape[2:]), op.stride, (op.pad[0][0], op.pad[1][0]), _dilation(op, weight), op.groups, gradient
    )
    layout = layout_of(site)
    n, channels, h, w = x.shape
    if not gradient and fold_by(walk.taps, walk.stride, walk.dilation, channels, vector(layout)) != (1, 1):
        return _space_to_depth(site, walk, workspace)
    launches: tuple[Launch, ...]
    if channels % vector(layout):
        lying = workspace.tensor((n, round_up(channels, vector(layout)), h, w), layout)
        launches, how = (relayout(x, lying),), f"channels padded to {lying.shape[1]}"
    else:
        lying, launches = brought(x, layout, workspace)
        how = "operand copied" if launches else ""
    rounded = not launches and site.precision == "tf32" and x.layout.stored == "f32"
    make = _filters_by_channel if gradient else _filters_by_kernel
    filters, made = make(site, walk, lying.shape[1] // op.groups, workspace)
    return Operands(lying, filters, walk, (*launches, *made), how, rounded)


def _space_to_depth(site: Site, walk: Walk, workspace: Workspace) -> Operands:
    """Both operands with blocks of stride pixels as channels; the padding becomes part of the map."""
    (x, weight), (result,), layout = site.operands, site.results, layout_of(site)
    blocks, taps, made = folded(x, walk.stride, walk.pad, walk.taps, result.shape[2:], layout, workspace)
    filters = workspace.tensor((weight.shape[0], blocks.shape[1], *taps), layout)
    launches = (made, fold(weight, filters, walk.stride, (0, 0)))
    walk = Walk(taps, (1, 1), (0, 0), (1, 1), walk.groups)
    return Operands(blocks, filters, walk, launches, f"space-to-depth by {_by(site)}")


def _filters_by_kernel(
    site: Site, walk: Walk, channels: int, workspace: Workspace
) -> tuple[Tensor, tuple[Launch, ...]]:
    """[kernels][taps][channels], rounded once and filled up with zeros; the weight itself where it lies so."""
    weight, layout = site.operands[1], layout_of(site)
    kernels, given, *_ = weight.shape
    if given == channels and not (site.precision == "tf32" and weight.layout.stored == "f32"):
        return brought(weight, layout, workspace)
    filters = workspace.tensor((kernels, channels, *walk.taps), layout)
    return filters, (relayout(weight, filters),)


def _filters_by_channel(
    site: Site, walk: Walk, channels: int, workspace: Workspace
) -> tuple[Tensor, tuple[Launch, ...]]:
    """[classes][channels][taps of the class][kernels of a group]: `channels` of x, filled up, are those kernels."""
    weight = site.operands[1]
    pitch = walk.most_taps * channels
    columns = math.prod(walk.classes) * walk.groups * weight.shape[1]
    filters = workspace.tensor((columns, pitch), Layout(MULTIPLIED[site.precision]))
    made = kernel(
        "conv_filters.cu",
        "filters_by_channel",
        tensors={"W": weight, "F": filters},
        constants={
            "GROUPS": walk.groups,
            "CHANNELS": channels,
            "PITCH": pitch,
            **both("STRIDE", walk.stride),
            **both("PAD", walk.pad),
        },
    )
    grid = (walk.groups * math.prod(walk.taps), -(-weight.shape[1] // 32), -(-channels // 32))
    return filters, (Launch(made, grid, (THREADS, 1, 1), (weight.place, filters.place)),)


# --- emission ---------------------------------------------------------------------------------------------------------


def on_tensor_cores(site: Site, epilogue: Epilogue) -> Emission:
    """Implicit GEMM, see kernels/conv_mma.cu."""
    workspace = Workspace()
    given, (result,) = operands(site, workspace), site.results
    walk, x = given.walk, given.x
    n, channels, h, w = result.shape
    classes, columns, deep = math.prod(walk.classes), channels // walk.groups, x.shape[1] // walk.groups
    rows = n * -(-h // walk.classes[0]) * -(-w // walk.classes[1])
    depth = -(-math.prod(walk.taps) // classes) * deep
    choice = choose(rows, columns, depth, site.gpu, site.precision, count=walk.groups * classes)
    tile = choice.tile
    made = kernel(
        "conv_mma.cu",
        "conv_mma",
        tensors={"X": x, "Y": result},
        constants={
            **both("TAPS", walk.taps),
            **both("STRIDE", walk.stride),
            **both("PAD", walk.pad),
            **both("DILATION", walk.dilation),
            "GRADIENT": walk.gradient,
            "GROUPS": walk.groups,
            "CHANNELS": deep,
            "TILE_ROWS": tile.rows,
            "TILE_COLUMNS": tile.columns,
            "WARP_ROWS": tile.warp[0],
            "WARP_COLUMNS": tile.warp[1],
            "STAGES": choice.stages,
            "RESIDENT": choice.resident,
            "ROUND": given.rounded,
            "THREE_PRODUCTS": site.precision == "fp32",
        },
        generated=epilogue.source(CUDA),
        warp=True,
    )
    grid = (-(-rows // tile.rows) * -(-columns // tile.columns), classes, walk.groups)
    arguments = (x.place, given.filters.place, result.place, *epilogue.arguments)
    launch = Launch(made, grid, (tile.threads, 1, 1), arguments, choice.shared)
    classed = f"{classes} residue classes" if classes > 1 else ""
    how = "; ".join(part for part in (f"implicit GEMM on tensor cores, {choice}", given.how, classed) if part)
    return Emission((*given.launches, launch), workspace.nbytes, how)


def forward(site: Site, epilogue: Epilogue) -> Emission:
    """A convolution."""
    why = plain(site)
    return replace(simt.forward(site, epilogue), reason=f"plain: {why}") if why else on_tensor_cores(site, epilogue)


def grad_input(site: Site, epilogue: Epilogue) -> Emission:
    """The gradient of a convolution's input."""
    why = plain(site)
    return replace(simt.grad_input(site, epilogue), reason=f"plain: {why}") if why else on_tensor_cores(site, epilogue)


EMITTERS: dict[type[Op], Emit] = {Conv: forward, ConvGradInput: grad_input}


def _by(site: Site) -> str:
    assert isinstance(site.op, ConvAttributes)
    rows, columns = site.op.stride
    return str(rows) if rows == columns else f"{rows} x {columns}"


def _pair(lengths: list[int] | tuple[int, ...]) -> Pair:
    rows, columns = lengths
    return rows, columns
